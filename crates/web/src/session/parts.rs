//! What others keep with a session, by type: made when first asked for, gone with the session.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use model::Timestamp;

/// Something kept with a session.
pub(crate) trait Part: Any + Send + Sync {
    /// Lets go of what nobody came back for.
    fn sweep(&self, now: Timestamp);
}

/// Everything kept with one session: one of each type.
#[derive(Default)]
pub(crate) struct Parts(Mutex<Vec<Arc<dyn Part>>>);

impl Parts {
    /// The one of this type.
    pub(crate) fn get<T: Part + Default>(&self) -> Arc<T> {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parts.iter().find_map(|part| {
            let part: Arc<dyn Any + Send + Sync> = part.clone();
            part.downcast::<T>().ok()
        });
        known.unwrap_or_else(|| {
            let made = Arc::new(T::default());
            parts.push(made.clone());
            made
        })
    }

    pub(crate) fn sweep(&self, now: Timestamp) {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        parts.iter().for_each(|part| part.sweep(now));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Part for Count {
        fn sweep(&self, _: Timestamp) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn there_is_one_of_each_type() {
        let parts = Parts::default();
        parts.get::<Count>().sweep(Timestamp::from_millis(0));
        parts.sweep(Timestamp::from_millis(0));

        assert_eq!(parts.get::<Count>().0.load(Ordering::Relaxed), 2);
    }
}
