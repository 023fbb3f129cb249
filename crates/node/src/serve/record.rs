//! What is put on record of a program that has ended, beside the session's own end.

use session::Outcome;
use session::event::{Status, kinds};

use super::start::{Program, Run};
use crate::copy::{Copy, Way};

impl Run<'_> {
    pub(super) async fn record(
        &self,
        program: &Program,
        copy: Option<&Copy>,
        outcome: &Outcome,
        streams: std::collections::BTreeMap<String, kinds::StreamTotal>,
    ) {
        let status = match outcome.status {
            Some(0) => Status::ok(),
            Some(code) => Status::failed(format!("exit status {code}")),
            None => Status::failed(outcome.signal.clone().unwrap_or_else(|| outcome.reason.clone())),
        };
        match program {
            Program::Shell => {}
            Program::Subsystem(name) => {
                self.session
                    .emit(|facts| kinds::Subsystem {
                        who: facts.who.clone(),
                        server: facts.server.clone(),
                        connection: facts.connection.clone(),
                        session: facts.session.clone(),
                        status: Status::ok(),
                        name: name.clone(),
                    })
                    .await;
            }
            Program::Command(_) => {
                let ended = outcome.signal.as_ref().map(|signal| format!("signal {signal}"));
                let failed = Some(outcome.reason.clone()).filter(|reason| !reason.is_empty());
                self.session
                    .emit(|facts| kinds::Exec {
                        who: facts.who.clone(),
                        server: facts.server.clone(),
                        connection: facts.connection.clone(),
                        session: facts.session.clone(),
                        status: status.clone(),
                        login: self.visit.login.to_string(),
                        command: program.command(),
                        exit_code: outcome.status.map(|code| code.to_string()),
                        exit_error: ended.or(failed),
                        streams,
                    })
                    .await;
                if let Some(copy) = copy.filter(|copy| copy.scp) {
                    self.record_scp(copy, status).await;
                }
            }
        }
    }

    async fn record_scp(&self, copy: &Copy, status: Status) {
        let path = copy.path.clone();
        match copy.way {
            Way::Up => {
                self.session
                    .emit(|facts| kinds::ScpUpload {
                        who: facts.who.clone(),
                        server: facts.server.clone(),
                        session: facts.session.clone(),
                        status,
                        action: "upload".to_owned(),
                        path,
                    })
                    .await;
            }
            Way::Down | Way::Both => {
                self.session
                    .emit(|facts| kinds::ScpDownload {
                        who: facts.who.clone(),
                        server: facts.server.clone(),
                        session: facts.session.clone(),
                        status,
                        action: "download".to_owned(),
                        path,
                    })
                    .await;
            }
        }
    }
}
