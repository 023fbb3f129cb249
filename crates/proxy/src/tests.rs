//! The port under strangers and friends.


