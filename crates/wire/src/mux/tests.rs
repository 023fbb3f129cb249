//! Two ends and the bytes between them, moved by hand under a clock that only the test moves.

mod history;

use super::*;

struct World {
    ends: [Mux; 2],
    /// Bytes on their way to each end.
    wires: [Vec<u8>; 2],
    now: Duration,
    /// One way.
    delay: Duration,
    opened: [Vec<(StreamId, Class, Vec<u8>)>; 2],
    readable: Vec<StreamId>,
    writable: Vec<StreamId>,
    lifted: Vec<(StreamId, [u8; LIFT_TOKEN])>,
}

const DIALER: usize = 0;
const LISTENER: usize = 1;

impl World {
    fn new() -> Self {
        Self::with(Settings::default(), Duration::from_micros(50))
    }

    fn with(settings: Settings, delay: Duration) -> Self {
        let now = Duration::from_secs(1);
        let ends = [Side::Dialer, Side::Listener].map(|side| Mux::new(side, settings.clone(), now));
        Self {
            ends,
            wires: Default::default(),
            now,
            delay,
            opened: Default::default(),
            readable: vec![],
            writable: vec![],
            lifted: vec![],
        }
    }

    /// Sends what either end has, at most `limit` bytes each, and delivers it after the delay.
    fn step(&mut self, limit: usize) {
        for from in [DIALER, LISTENER] {
            let mut out = Vec::new();
            self.ends[from].transmit(&mut out, limit);
            self.wires[1 - from].extend(out);
        }
        self.now += self.delay;
        for to in [DIALER, LISTENER] {
            let count = self.ends[to].receive(&self.wires[to], self.now).unwrap();
            self.wires[to].drain(..count);
            while let Some(event) = self.ends[to].event() {
                match event {
                    Event::Opened { id, class, metadata } => self.opened[to].push((id, class, metadata)),
                    Event::Readable(id) => self.readable.push(id),
                    Event::Writable(id) => self.writable.push(id),
                    Event::Lifted { id, token } => self.lifted.push((id, token)),
                    Event::GoingAway => {}
                }
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            self.step(64 * 1024);
        }
    }

    fn open(&mut self) -> StreamId {
        self.ends[DIALER].open(Class::Interactive, b"meta").unwrap()
    }

    fn read_all(&mut self, end: usize, id: StreamId) -> Vec<u8> {
        let (mut all, mut part) = (Vec::new(), [0; 20_000]);
        while let Ok(Read::Bytes(count)) = self.ends[end].read(id, &mut part, self.now) {
            all.extend(&part[..count]);
        }
        all
    }

    fn write_all_there_is_room_for(&mut self, end: usize, id: StreamId) -> usize {
        let mut total = 0;
        loop {
            match self.ends[end].write(id, &[7; 10_000]) {
                Ok(0) => return total,
                Ok(count) => total += count,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn first_bytes_ride_along_with_the_open() {
    let mut world = World::new();
    let id = world.open();
    world.ends[DIALER].write(id, b"SSH-2.0-").unwrap();

    world.step(usize::MAX);

    assert_eq!(world.opened[LISTENER], [(id, Class::Interactive, b"meta".to_vec())]);
    assert_eq!(world.read_all(LISTENER, id), b"SSH-2.0-");
}

#[test]
fn a_lifted_stream_leaves_after_what_was_queued_and_is_forgotten() {
    let mut world = World::new();
    let id = world.open();
    world.ends[DIALER].write(id, b"first").unwrap();
    world.ends[DIALER].lift(id, [9; LIFT_TOKEN]);
    world.ends[DIALER].lift(id, [8; LIFT_TOKEN]);
    world.settle();
    assert_eq!(world.lifted, [(id, [9; LIFT_TOKEN])], "once");

    for (from, to) in [(DIALER, LISTENER), (LISTENER, DIALER)] {
        world.ends[from].write(id, b"last").unwrap();
        assert!(world.ends[from].leave(id));
        assert!(!world.ends[from].leave(id));
        assert_eq!(world.ends[from].write(id, b"more"), Err(StreamError::Finished));
        world.settle();
        let all = world.read_all(to, id);
        assert!(all.ends_with(b"last"), "{all:?}");
        assert_eq!(world.ends[to].read(id, &mut [0; 9], world.now), Ok(Read::Moved));
    }
    world.ends[DIALER].release(id);
    world.ends[LISTENER].release(id);

    assert!(world.ends.iter().all(|end| end.open_streams() == 0 && end.held() == 0));
}

#[test]
fn nobody_moves_a_stream_that_was_not_lifted_or_lifts_one_of_the_peers() {
    let mut world = World::new();
    let id = world.open();
    world.settle();
    for lie in [
        Frame::Data { id, end: End::Moved, bytes: b"" },
        Frame::Lift { id: StreamId(2), token: [0; LIFT_TOKEN] },
    ] {
        let mut bytes = Vec::new();
        lie.encode(&mut bytes);
        assert!(world.ends[LISTENER].receive(&bytes, world.now).is_err(), "{lie:?}");
    }
    let mut bytes = Vec::new();
    Frame::Lift { id, token: [0; LIFT_TOKEN] }.encode(&mut bytes);
    assert!(world.ends[DIALER].receive(&bytes, world.now).is_err(), "not the opener");
}

#[test]
fn each_direction_ends_by_itself_and_nothing_is_left_behind() {
    let mut world = World::new();
    let id = world.open();
    world.ends[DIALER].write(id, b"question").unwrap();
    world.ends[DIALER].finish(id);
    world.settle();
    assert_eq!(world.read_all(LISTENER, id), b"question");
    assert_eq!(world.ends[LISTENER].read(id, &mut [0; 9], world.now), Ok(Read::End));
    assert_eq!(world.ends[DIALER].write(id, b"more"), Err(StreamError::Finished));

    world.ends[LISTENER].write(id, b"answer").unwrap();
    world.ends[LISTENER].finish(id);
    world.ends[LISTENER].release(id);
    world.settle();

    assert_eq!(world.read_all(DIALER, id), b"answer");
    assert_eq!(world.ends[DIALER].read(id, &mut [0; 9], world.now), Ok(Read::End));
    world.ends[DIALER].release(id);
    assert_eq!(world.ends.each_ref().map(Mux::open_streams), [0, 0]);
}

#[test]
fn an_unread_stream_stops_at_its_window_and_stops_nobody_else() {
    let mut world = World::new();
    let (stuck, alive) = (world.open(), world.open());
    for _ in 0..20 {
        world.write_all_there_is_room_for(DIALER, stuck);
        world.settle();
    }
    assert_eq!(world.ends[LISTENER].held(), FIRST_WINDOW as usize);
    assert_eq!(world.ends[DIALER].held(), 0);

    let mut moved = 0;
    for _ in 0..100 {
        moved += world.write_all_there_is_room_for(DIALER, alive);
        world.settle();
        world.read_all(LISTENER, alive);
        world.step(usize::MAX);
    }
    assert!(moved > 4_000_000, "{moved}");
}

#[test]
fn windows_grow_with_the_round_trip_and_stay_within_the_budget() {
    for (delay, budget, least, most) in [
        (Duration::from_millis(20), 64 << 20, 4 << 20, LONG_WINDOW),
        (Duration::from_micros(50), 64 << 20, 64 << 10, SHORT_WINDOW),
        (Duration::from_millis(20), 1 << 20, 1 << 19, (1 << 20) + FIRST_WINDOW),
    ] {
        let mut world = World::with(Settings { budget, queue: 32 << 20, ..Settings::default() }, delay);
        let id = world.open();
        world.settle();
        for _ in 0..60 {
            world.write_all_there_is_room_for(DIALER, id);
            for _ in 0..3 {
                world.step(usize::MAX);
                world.read_all(LISTENER, id);
            }
        }
        // The reader stops: what a stalled reader takes is its window and no more.
        for _ in 0..20 {
            world.write_all_there_is_room_for(DIALER, id);
            world.step(usize::MAX);
        }
        let held = u32::try_from(world.ends[LISTENER].held()).unwrap();
        assert!((least..=most).contains(&held), "{delay:?}: {held} not in {least}..={most}");
    }
}

#[test]
fn a_reset_throws_away_what_is_queued_at_both_ends() {
    let mut world = World::new();
    let id = world.open();
    world.write_all_there_is_room_for(DIALER, id);
    world.step(20_000);
    assert!(world.ends[LISTENER].held() > 0 && world.ends[DIALER].held() > 0);
    assert_eq!(world.ends[DIALER].write(id, b"x"), Ok(0));

    world.ends[LISTENER].reset(id, ResetCode::Unreachable);
    world.settle();

    assert_eq!(world.ends.each_ref().map(Mux::held), [0, 0]);
    let gone = StreamError::Reset(ResetCode::Unreachable);
    assert_eq!(world.ends[DIALER].read(id, &mut [0; 9], world.now), Err(gone));
    assert_eq!(world.ends[DIALER].write(id, b"x"), Err(gone));
    assert!(world.writable.contains(&id), "a blocked writer learns of it");
    for end in [DIALER, LISTENER] {
        world.ends[end].release(id);
        assert_eq!(world.ends[end].open_streams(), 0);
    }
}

#[test]
fn letting_go_of_an_unfinished_stream_resets_it() {
    let mut world = World::new();
    let id = world.open();
    world.step(usize::MAX);
    let waiting = world.ends[LISTENER].read(id, &mut [0; 9], world.now);
    assert_eq!(waiting, Ok(Read::Blocked));

    world.ends[DIALER].release(id);
    world.settle();

    assert!(world.readable.contains(&id));
    let read = world.ends[LISTENER].read(id, &mut [0; 9], world.now);
    assert_eq!(read, Err(StreamError::Reset(ResetCode::Cancelled)));
}

#[test]
fn who_finished_and_let_go_is_heard_to_the_end_whatever_the_peer_says() {
    const SAID: usize = 40_000;
    // When the peer says something nobody reads, and how much of what was said has gone by then.
    for (before, sent) in [(true, 0), (true, 20_000), (true, usize::MAX), (false, 0), (false, usize::MAX)] {
        let mut world = World::new();
        let id = world.open();
        world.settle();
        if before {
            world.ends[LISTENER].write(id, b"unread").unwrap();
            world.settle();
        }
        assert_eq!(world.ends[DIALER].write(id, &[7; SAID]), Ok(SAID));
        world.ends[DIALER].finish(id);
        if sent > 0 {
            world.step(sent);
        }

        world.ends[DIALER].release(id);
        world.ends[LISTENER].write(id, b"more").unwrap();
        world.settle();

        assert_eq!(world.read_all(LISTENER, id).len(), SAID, "{before} {sent}");
        assert_eq!(world.ends[LISTENER].read(id, &mut [0; 9], world.now), Ok(Read::End));
        let unheard = world.ends[LISTENER].write(id, b"and more");
        assert_eq!(unheard, Err(StreamError::Reset(ResetCode::Cancelled)), "{before} {sent}");
        world.ends[LISTENER].release(id);
        assert_eq!(world.ends.each_ref().map(|end| (end.open_streams(), end.held())), [(0, 0); 2]);
    }
}

#[test]
fn a_peer_is_told_that_nobody_listens_only_when_it_goes_on() {
    let mut world = World::new();
    let id = world.open();
    world.ends[DIALER].finish(id);
    world.ends[DIALER].release(id);
    world.settle();

    assert_eq!(world.ends[LISTENER].write(id, b"answer"), Ok(6));
    world.ends[LISTENER].finish(id);
    world.settle();

    assert_eq!(world.ends[LISTENER].read(id, &mut [0; 9], world.now), Ok(Read::End));
    world.ends[LISTENER].release(id);
    assert_eq!(world.ends.each_ref().map(Mux::open_streams), [0, 0]);
}

#[test]
fn a_keystroke_goes_before_every_copy_and_copies_take_turns() {
    let mut world = World::new();
    let copies = [world.open(), world.open()];
    for id in copies {
        world.write_all_there_is_room_for(DIALER, id);
    }
    let shell = world.open();
    world.ends[DIALER].write(shell, b"k").unwrap();
    world.ends[DIALER].go_away();

    let mut out = Vec::new();
    world.ends[DIALER].transmit(&mut out, usize::MAX);

    let mut reader = Reader::new(&out[PREFACE.len()..]);
    let mut order = Vec::new();
    while let Some(frame) = Frame::decode(&mut reader).unwrap() {
        if let Frame::Data { id, .. } = frame {
            order.push(id);
        } else {
            assert!(order.is_empty(), "control goes first");
        }
    }
    assert_eq!(order[0], shell);
    assert_eq!(order[1..5], [copies[0], copies[1], copies[0], copies[1]]);
}

#[test]
fn a_leaving_peer_takes_no_more_and_keeps_what_it_has() {
    let mut world = World::new();
    let old = world.open();
    world.settle();
    world.ends[LISTENER].go_away();
    let crossing = world.open();

    world.settle();

    assert_eq!(world.ends[DIALER].open(Class::Bulk, b""), Err(OpenError::Leaving));
    let read = world.ends[DIALER].read(crossing, &mut [0; 9], world.now);
    assert_eq!(read, Err(StreamError::Reset(ResetCode::Refused)));
    world.ends[DIALER].write(old, b"still here").unwrap();
    world.settle();
    assert_eq!(world.read_all(LISTENER, old), b"still here");
}

#[test]
fn silence_is_noticed_and_an_idle_tunnel_is_not_silent() {
    let mut world = World::new();
    world.settle();
    for _ in 0..100 {
        world.now += Duration::from_millis(250);
        for end in &mut world.ends {
            end.tick(world.now).unwrap();
        }
        world.settle();
    }

    let cut = world.now;
    let mut dead = None;
    while dead.is_none() {
        world.now = world.ends[DIALER].deadline().max(world.now);
        dead = world.ends[DIALER].tick(world.now).err();
        let mut lost = Vec::new();
        world.ends[DIALER].transmit(&mut lost, usize::MAX);
    }
    assert!(world.now - cut <= Duration::from_secs(5), "{:?}", world.now - cut);
}

#[test]
fn the_round_trip_is_measured() {
    let mut world = World::with(Settings::default(), Duration::from_millis(20));
    world.settle();

    for end in &world.ends {
        assert_eq!(end.rtt(), Some(Duration::from_millis(40)));
    }
}

#[test]
fn too_many_streams_are_turned_away() {
    let mut world =
        World::with(Settings { max_incoming: 2, ..Settings::default() }, Duration::from_micros(50));
    let ids = [world.open(), world.open(), world.open()];

    world.settle();

    assert_eq!(world.opened[LISTENER].len(), 2);
    let read = world.ends[DIALER].read(ids[2], &mut [0; 9], world.now);
    assert_eq!(read, Err(StreamError::Reset(ResetCode::Busy)));
}

#[test]
fn a_peer_that_breaks_the_rules_is_cut_off() {
    let over: Vec<u8> = vec![0; MAX_PAYLOAD];
    let flood: Vec<Frame<'_>> =
        (0..5).map(|_| Frame::Data { id: StreamId(1), end: End::Open, bytes: &over }).collect();
    let open = Frame::Open { id: StreamId(1), class: Class::Bulk, metadata: b"" };
    let cases: [Vec<Frame<'_>>; 6] = [
        [vec![open.clone()], flood].concat(),
        vec![open.clone(), open.clone()],
        vec![Frame::Open { id: StreamId(2), class: Class::Bulk, metadata: b"" }],
        vec![Frame::Data { id: StreamId(3), end: End::Fin, bytes: b"" }],
        vec![open.clone(), Frame::Credit { id: StreamId(1), bytes: u32::MAX }],
        vec![
            open,
            Frame::Data { id: StreamId(1), end: End::Fin, bytes: b"" },
            Frame::Data { id: StreamId(1), end: End::Fin, bytes: b"" },
        ],
    ];
    for frames in cases {
        let mut mux = Mux::new(Side::Listener, Settings::default(), Duration::ZERO);
        let mut bytes = PREFACE.to_vec();
        for frame in &frames {
            frame.encode(&mut bytes);
        }
        assert!(mux.receive(&bytes, Duration::ZERO).is_err(), "{frames:?}");
    }
    let mut mux = Mux::new(Side::Listener, Settings::default(), Duration::ZERO);
    assert!(mux.receive(b"SSH-2.0-", Duration::ZERO).is_err());
}

#[test]
fn a_peer_that_floods_without_listening_is_cut_off() {
    let mut mux =
        Mux::new(Side::Listener, Settings { max_incoming: 0, ..Settings::default() }, Duration::ZERO);
    mux.receive(&PREFACE, Duration::ZERO).unwrap();
    let mut outcome = Ok(0);
    for n in 0..200_000u32 {
        let mut bytes = Vec::new();
        Frame::Open { id: StreamId(2 * n + 1), class: Class::Bulk, metadata: b"" }.encode(&mut bytes);
        outcome = mux.receive(&bytes, Duration::ZERO);
        if outcome.is_err() {
            break;
        }
    }
    assert!(outcome.is_err());
    assert!(mux.held() < 2 * MAX_CONTROL);
}

#[test]
fn streams_of_ours_that_wait_to_be_said_are_no_flood_of_the_peers() {
    let mut world = World::new();
    world.settle();
    let standing = world.open();
    let metadata = [7; MAX_METADATA];
    let mut opened = 0;
    let full = loop {
        match world.ends[DIALER].open(Class::Interactive, &metadata) {
            Ok(id) => world.ends[DIALER].release(id),
            Err(error) => break error,
        }
        opened += 1;
        assert!(opened < 100_000, "what waits is bounded");
    };
    assert_eq!(full, OpenError::TooMany);

    let mut bytes = Vec::new();
    Frame::Ping { token: 1 }.encode(&mut bytes);
    world.ends[DIALER].receive(&bytes, world.now).unwrap();
    world.settle();

    world.ends[LISTENER].write(standing, b"still here").unwrap();
    world.settle();
    assert_eq!(world.read_all(DIALER, standing), b"still here");
    assert!(world.ends[DIALER].open(Class::Interactive, &metadata).is_ok());
}
