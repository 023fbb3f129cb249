//! Any history of any streams, and any bytes from a peer.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    Open(bool),
    Write(usize, usize, bool),
    Read(usize, usize, bool),
    Finish(usize, bool),
    Release(usize, bool),
    Reset(usize, bool),
    Step(usize),
}

/// What one end did with a stream, and what of it arrived.
#[derive(Debug, Default)]
struct Told {
    written: usize,
    read: usize,
    finished: bool,
    released: bool,
    reset: bool,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        1 => any::<bool>().prop_map(Act::Open),
        6 => (0..8usize, 0..50_000usize, any::<bool>()).prop_map(|(s, n, e)| Act::Write(s, n, e)),
        6 => (0..8usize, 0..50_000usize, any::<bool>()).prop_map(|(s, n, e)| Act::Read(s, n, e)),
        1 => (0..8usize, any::<bool>()).prop_map(|(s, e)| Act::Finish(s, e)),
        1 => (0..8usize, any::<bool>()).prop_map(|(s, e)| Act::Release(s, e)),
        1 => (0..8usize, any::<bool>()).prop_map(|(s, e)| Act::Reset(s, e)),
        6 => (1..100_000usize).prop_map(Act::Step),
    ]
}

proptest! {
    /// Whatever happens, each direction of each stream delivers a prefix of what was written, in order; all of it where
    /// it was finished and nobody cut it off; and after everything was let go nothing is left at either end.
    #[test]
    fn any_history_delivers_in_order_and_leaves_nothing(history in proptest::collection::vec(acts(), 1..200)) {
        let mut world = World::new();
        let mut ids: Vec<StreamId> = Vec::new();
        let mut told: BTreeMap<(StreamId, usize), Told> = BTreeMap::new();
        for act in history {
            match act {
                Act::Open(listener) => {
                    let opener = usize::from(listener);
                    ids.push(world.ends[opener].open(Class::Interactive, b"").unwrap());
                }
                Act::Write(s, n, e) => if let Some(id) = ids.get(s) {
                    let end = usize::from(e);
                    let own = told.entry((*id, end)).or_default();
                    let bytes: Vec<u8> = (own.written..own.written + n).map(|i| i.to_le_bytes()[0]).collect();
                    if !own.released {
                        own.written += world.ends[end].write(*id, &bytes).unwrap_or(0);
                    }
                }
                Act::Read(s, n, e) => if let Some(id) = ids.get(s) {
                    let end = usize::from(e);
                    let own = told.entry((*id, end)).or_default();
                    let mut out = vec![0; n];
                    if !own.released && let Ok(Read::Bytes(count)) = world.ends[end].read(*id, &mut out, world.now) {
                        let expected: Vec<u8> = (own.read..own.read + count).map(|i| i.to_le_bytes()[0]).collect();
                        prop_assert_eq!(&out[..count], &expected);
                        own.read += count;
                    }
                }
                Act::Finish(s, e) => if let Some(id) = ids.get(s) {
                    let own = told.entry((*id, usize::from(e))).or_default();
                    // Until its OPEN is heard, a stream is nothing the other side could hold.
                    own.finished |= world.ends[usize::from(e)].is_held(*id);
                    world.ends[usize::from(e)].finish(*id);
                }
                Act::Release(s, e) => if let Some(id) = ids.get(s) {
                    let own = told.entry((*id, usize::from(e))).or_default();
                    own.released |= world.ends[usize::from(e)].streams.contains_key(id);
                    world.ends[usize::from(e)].release(*id);
                }
                Act::Reset(s, e) => if let Some(id) = ids.get(s) {
                    told.entry((*id, usize::from(e))).or_default().reset = true;
                    world.ends[usize::from(e)].reset(*id, ResetCode::Cancelled);
                }
                Act::Step(limit) => world.step(limit),
            }
        }
        world.settle();
        for id in &ids {
            for end in [DIALER, LISTENER] {
                let own = told.entry((*id, end)).or_default();
                if !own.released {
                    own.read += world.read_all(end, *id).len();
                }
            }
            for end in [DIALER, LISTENER] {
                let (own, other) = (&told[&(*id, end)], &told[&(*id, 1 - end)]);
                prop_assert!(own.read <= other.written);
                if other.finished && !(own.released || own.reset || other.reset) {
                    prop_assert_eq!(own.read, other.written, "{:?} at {}", id, end);
                    prop_assert_eq!(world.ends[end].read(*id, &mut [0; 9], world.now), Ok(Read::End));
                }
            }
        }
        for id in ids {
            for end in [DIALER, LISTENER] {
                world.ends[end].release(id);
            }
        }
        world.settle();
        prop_assert_eq!(world.ends.each_ref().map(Mux::open_streams), [0, 0]);
        prop_assert_eq!(world.ends.each_ref().map(|m| (m.held(), m.queued, m.grown, m.incoming)), [(0, 0, 0, 0); 2]);
    }

    #[test]
    fn a_hostile_peer_never_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzz::mux(&bytes);
    }
}
