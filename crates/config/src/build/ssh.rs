//! `ssh_service:`.

use std::collections::BTreeMap;
use std::time::Duration;

use model::time::Span;

use super::{FLAGS, Make};
use crate::{CommandLabel, Finding, Ssh, Weight};

impl Make<'_> {
    pub(super) fn ssh(&mut self) -> Option<Ssh> {
        let file = self.file;
        let mut labels = file.labels("ssh_service.labels");
        if let Some(text) = &self.flags.labels {
            match model::label::parse(text) {
                Ok(more) => labels.extend(more),
                Err(error) => self.findings.push(Finding::error(FLAGS, None, "--labels", error.to_string())),
            }
        }
        Some(Ssh {
            listen: file.address("ssh_service.listen_addr"),
            public_addrs: file.addresses("ssh_service.public_addr"),
            labels,
            commands: self.commands(),
            permit_user_env: self.flags.permit_user_env
                || file.truth("ssh_service.permit_user_env").unwrap_or(false),
            port_forwarding: file.truth("ssh_service.port_forwarding").unwrap_or(true),
            file_copy: file.truth("ssh_service.ssh_file_copy").unwrap_or(true),
            session_grace: match file.span_or_never("ssh_service.session_grace") {
                Some(grace) => grace.unwrap_or_default(),
                None => Span(Duration::from_secs(300)),
            },
        })
    }

    fn commands(&mut self) -> BTreeMap<String, CommandLabel> {
        let mut all = BTreeMap::new();
        let least = Duration::from_secs(1);
        for part in self.file.sections("ssh_service.commands[]") {
            let shown = "ssh_service.commands[]";
            let at = Some(part.at());
            let command: Vec<String> = part.texts("command").into_iter().map(|(t, _)| t.to_owned()).collect();
            let Some(name) = part.text("name").filter(|n| !n.is_empty() && !command.is_empty()) else {
                let finding = Finding::error(self.raw.file(), at, shown, "incomplete");
                self.findings.push(finding.expected("both `name` and `command`"));
                continue;
            };
            let mut period = part.span("period").unwrap_or(Span(Duration::from_secs(60)));
            if period.0 < least {
                let finding = Finding::error(self.raw.file(), at, shown, "a period below 1s is taken as 1s");
                self.findings.push(finding.weighing(Weight::Warning));
                period = Span(least);
            }
            if all.insert(name.to_owned(), CommandLabel { command, period }).is_some() {
                let finding = Finding::error(self.raw.file(), at, shown, format!("`{name}` given twice"));
                self.findings.push(finding.expected("one command for each label"));
            }
        }
        all
    }
}
