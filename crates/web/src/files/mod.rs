//! Files of nodes for signed-in browsers: an SFTP client with the person's own certificate, and HTTP to the page.
//!
//! ```text
//! page ─ POST list, change ─────────────→ a conversation that is kept for a while
//!      ─ POST uploads, PUT piece … finish → a conversation, a part file, then its name in one step
//!      ─ POST tickets, GET downloads ─────→ a conversation, read as fast as the browser takes it
//! ```
//!
//! Nothing is kept but what is under way: a transfer holds at most `ssh::sftp::WINDOW` pieces. Bounds:
//! [`MAX_TRANSFERS`] a session and direction, [`MAX_PIECE`] a request, [`MAX_NAMES`] a listing, [`STALL`] without a
//! byte from the node, [`LEFT`] for an upload nobody goes on with. What may be done is the node's to say; what was
//! done is the node's to tell. Described in docs/formats/web-files.md.

mod asker;
mod bounds;
mod browse;
mod download;
mod part;
mod route;
mod talk;
mod trouble;
mod upload;

use std::net::SocketAddr;

use http::Request;
use hyper::body::Incoming;

pub use bounds::{LEFT, MAX_NAMES, MAX_PIECE, MAX_TRANSFERS, STALL};
pub(crate) use route::FileRoute;

use crate::Web;
use crate::answer::Answer;
use crate::session::guard;
use crate::streams::Streams;
use asker::Asker;

/// Answers a request about files.
pub(crate) async fn handle(
    web: &Web,
    route: FileRoute,
    from: SocketAddr,
    request: Request<Incoming>,
    streams: &Streams,
) -> Answer {
    let headers = request.headers();
    let found = match route.goes_on() {
        true => guard::holder(web, from.ip(), headers).ok_or(guard::Absent::Nobody),
        false => guard::whose(web, from.ip(), headers),
    };
    let guard::Browser { person, sessions, .. } = match found {
        Ok(browser) => browser,
        Err(absent) => return absent.answer(),
    };
    let ours = guard::from_our_page(request.method(), headers);
    if !ours || (!route.reads() && !guard::is_meant(&person, headers)) {
        return guard::not_ours();
    }
    let asker = Asker { sessions, person, from };
    let outcome = match route {
        FileRoute::List => browse::list(&asker, request).await,
        FileRoute::Change => browse::change(&asker, request).await,
        FileRoute::Start => upload::start(&asker, request).await,
        FileRoute::Piece { upload, offset } => upload::piece(&asker, &upload, offset, request).await,
        FileRoute::State { upload } => upload::state(&asker, &upload),
        FileRoute::Finish { upload } => upload::finish(&asker, &upload).await,
        FileRoute::Cancel { upload } => upload::cancel(&asker, &upload).await,
        FileRoute::Ticket => download::ticket(&asker, request).await,
        FileRoute::Download { ticket } => download::fetch(&asker, &ticket, streams),
        FileRoute::Downloads => Ok(download::list(&asker)),
        FileRoute::Stop { download } => download::stop(&asker, &download),
    };
    outcome.unwrap_or_else(trouble::Trouble::into_answer)
}
