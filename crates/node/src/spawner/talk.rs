//! The task that owns the socket to the spawner: sends questions, hands answers out.
//!
//! Answers come in the order of the questions, so no numbers are needed to match them. What is told unasked, ends of
//! programs and what came of what was begun, comes in between and names a handle.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use model::Login;
use tokio::io::Interest;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::message::{Answer, Exit, Question};
use super::transport;
use crate::Error;
use crate::fd::Watched;

pub(super) type Reply = Result<(Answer, Vec<OwnedFd>), Error>;

/// What everybody has who asks.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) only: Option<Login>,
    /// Look-ups that may be asked for at a time. Askers wait for one, for some time.
    pub(super) places: Semaphore,
    /// Handles dropped since the task last looked; bounded by how many were given out.
    pub(super) dropped: Mutex<Vec<u32>>,
    pub(super) notify: Notify,
    pub(super) gone: CancellationToken,
}

#[derive(Debug)]
pub(super) struct Ask {
    /// Encoded, of at most [`MAX`](super::message::MAX) bytes.
    pub(super) question: Vec<u8>,
    pub(super) reply: oneshot::Sender<Reply>,
    /// Where what follows the answer is to be told.
    pub(super) later: Option<Later>,
}

/// [`Answer::Found`], [`Answer::Socket`] or [`Answer::Denied`], and what came beside it.
pub(super) type Told = (Answer, Vec<OwnedFd>);

/// Who waits for what comes unasked, once.
#[derive(Debug)]
pub(super) enum Later {
    /// For Spawn: the program's end.
    Exit(oneshot::Sender<Exit>),
    /// For what is [`Answer::Begun`]: what came of it.
    Done(oneshot::Sender<Told>),
}

type Waiting = (oneshot::Sender<Reply>, Option<Later>);

pub(super) struct Talk {
    socket: Watched,
    queue: mpsc::Receiver<Ask>,
    /// Questions on their way, and who waits for the answers: one somebody asked, or all that was given back together.
    unsent: VecDeque<(Vec<u8>, Option<Waiting>)>,
    /// Who waits for each answer, in order; nobody for what was given back.
    answers: VecDeque<Option<Waiting>>,
    exits: BTreeMap<u32, oneshot::Sender<Exit>>,
    begun: BTreeMap<u32, oneshot::Sender<Told>>,
    shared: Arc<Shared>,
}

impl Talk {
    pub(super) fn new(socket: Watched, queue: mpsc::Receiver<Ask>, shared: Arc<Shared>) -> Self {
        Self {
            socket,
            queue,
            unsent: VecDeque::new(),
            answers: VecDeque::new(),
            exits: BTreeMap::new(),
            begun: BTreeMap::new(),
            shared,
        }
    }

    pub(super) async fn run(mut self, mut buffer: Vec<u8>) {
        let gone = self.shared.gone.clone().drop_guard();
        if let Err(error) = self.talk(&mut buffer).await {
            tracing::error!(%error, "spawner lost");
        }
        drop(gone);
    }

    /// Listens at all times: a spawner whose answers nobody takes takes no questions.
    async fn talk(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let shared = self.shared.clone();
        loop {
            // Cancel safe: datagrams are read and written whole or not at all; the others are queues. What is given back
            // goes before what is asked after that: it may be in the way, as a path is that is to be bound anew.
            tokio::select! {
                biased;
                got = read(&self.socket, buffer) => match got? {
                    Some((answer, fds)) => self.hear(answer, fds)?,
                    None => return Err(Error::SpawnerGone),
                },
                sent = write_first(&self.socket, &self.unsent), if !self.unsent.is_empty() => {
                    sent?;
                    self.answers.extend(self.unsent.pop_front().map(|(_, waiting)| waiting));
                }
                () = shared.notify.notified(), if self.unsent.is_empty() => self.give_back(),
                Some(ask) = self.queue.recv(), if self.unsent.is_empty() => {
                    // Who is gone may have given back the handle the question names, and to ask with a handle that
                    // is none is a breach.
                    if !ask.reply.is_closed() {
                        self.unsent.push_back((ask.question, Some((ask.reply, ask.later))));
                    }
                }
            }
        }
    }

    fn give_back(&mut self) {
        let dropped =
            std::mem::take(&mut *self.shared.dropped.lock().unwrap_or_else(PoisonError::into_inner));
        for handle in &dropped {
            self.begun.remove(handle);
        }
        self.unsent.extend(dropped.into_iter().map(|handle| (Question::Close { handle }.encode(), None)));
    }

    fn hear(&mut self, answer: Answer, fds: Vec<OwnedFd>) -> Result<(), Error> {
        match answer {
            Answer::Exited { session, exit } => {
                if let Some(tell) = self.exits.remove(&session) {
                    let _ = tell.send(exit);
                }
                return Ok(());
            }
            Answer::Found { account: handle, .. }
            | Answer::Socket { socket: handle, .. }
            | Answer::Denied { handle, .. } => {
                // Who is gone without having heard the handle cannot give it back.
                let unheard = self.begun.remove(&handle).and_then(|tell| tell.send((answer, fds)).err());
                self.undo(unheard.map(|(answer, _)| answer));
                return Ok(());
            }
            _ => {}
        }
        let waiting = self.answers.pop_front().ok_or(Error::Protocol("an answer nobody asked for"))?;
        let Some((reply, later)) = waiting else { return Ok(()) };
        let begun = match (&answer, later) {
            (Answer::Spawned { session, .. }, Some(Later::Exit(tell))) => {
                self.exits.insert(*session, tell);
                None
            }
            (Answer::Begun { handle }, Some(Later::Done(tell))) => Some((*handle, tell)),
            _ => None,
        };
        let unheard = match answer {
            Answer::Refused { reason } => reply.send(Err(Error::Refused(reason))),
            answer => reply.send(Ok((answer, fds))),
        };
        match unheard {
            Ok(()) => self.begun.extend(begun),
            // An asker that went away drops the descriptors with the answer; what it would have held goes back.
            Err(unheard) => self.undo(unheard.ok().map(|(answer, _)| answer)),
        }
        Ok(())
    }

    fn undo(&mut self, unheard: Option<Answer>) {
        self.unsent
            .extend(unheard.and_then(|answer| answer.undone()).map(|question| (question.encode(), None)));
    }
}

async fn write_first(socket: &Watched, unsent: &VecDeque<(Vec<u8>, Option<Waiting>)>) -> Result<(), Error> {
    match unsent.front() {
        Some((question, _)) => write(socket, question).await,
        None => Ok(()),
    }
}

pub(super) async fn write(socket: &Watched, bytes: &[u8]) -> Result<(), Error> {
    socket.io(Interest::WRITABLE, |socket| transport::send(socket.as_fd(), bytes, &[])).await.map_err(
        |error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Error::SpawnerGone,
            _ => Error::Io("asking the spawner", error),
        },
    )
}

pub(super) async fn read(
    socket: &Watched,
    buffer: &mut [u8],
) -> Result<Option<(Answer, Vec<OwnedFd>)>, Error> {
    let got = socket
        .io(Interest::READABLE, |socket| transport::receive(socket.as_fd(), buffer))
        .await
        .map_err(Error::io("hearing the spawner"))?;
    let Some((len, fds)) = got else { return Ok(None) };
    Ok(Some((Answer::decode(buffer.get(..len).unwrap_or_default())?, fds)))
}
