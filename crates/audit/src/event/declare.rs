//! The macro that declares kinds of events: name, code, what must be there, fields.
//!
//! `"T2000I"` is a fixed code; `ok "T1000I" or "T1000W"` follows the event's `status`; `by method ["A", "B"]` is what the
//! method says. Types it names ([`Event`](super::Event) and the like) are those in scope where it is used.

macro_rules! code {
    ($self:ident, $code:literal) => {
        $code
    };
    ($self:ident, ok $good:literal or $bad:literal) => {
        if $self.status.success { $good } else { $bad }
    };
    ($self:ident, by $method:ident [$($code:literal),+]) => {
        $self.$method()
    };
}

macro_rules! codes {
    ($code:literal) => { &[$code] };
    (ok $good:literal or $bad:literal) => { &[$good, $bad] };
    (by $method:ident [$($code:literal),+]) => { &[$($code),+] };
}

macro_rules! events {
    ($(
        #[doc = $doc:literal]
        $type:ident $name:literal ($($code:tt)+) needs [$($need:literal),*] {
            $( $(#[$meta:meta])* $field:ident : $ty:ty ),* $(,)?
        }
    )*) => {
        $(
            #[doc = $doc]
            #[expect(missing_docs, reason = "groups of fields are documented where they are defined")]
            #[derive(Clone, Debug, Default, PartialEq, Serialize)]
            pub struct $type { $( $(#[$meta])* pub $field: $ty, )* }

            impl Event for $type {
                const NAME: &'static str = $name;
                fn code(&self) -> &'static str { code!(self, $($code)+) }
            }
        )*

        /// Every kind of event there is.
        pub const KINDS: &[Kind] = &[$(
            Kind {
                event: $name,
                codes: codes!($($code)+),
                required: &[$($need),*],
                summary: $doc.trim_ascii(),
                own: own(codes!($($code)+)),
            },
        )*];

        /// One of each, empty.
        #[cfg(test)]
        pub(crate) fn samples() -> Vec<model::api::audit::AuditEvent> {
            let cluster = "example".parse().unwrap();
            let stamp = crate::event::Stamp {
                time: Timestamp::from_secs(1),
                uid: model::RequestId::from_random([1; 16]),
                cluster: &cluster,
                index: 0,
            };
            vec![$(crate::event::seal(&$type::default(), &stamp)),*]
        }
    };
}

pub(super) use {code, codes, events};
