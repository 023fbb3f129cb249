//! One key of the configuration file as data: where, what type, which versions, what effect.

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Keys of its own.
    Section,
    /// A list of sections.
    Sections,
    /// `yes` or `no`, in any of YAML's words.
    Bool,
    /// A whole number from the first to the second.
    Int(i64, i64),
    /// Any text.
    Text,
    /// One text or a list of them.
    Texts,
    /// One of these words, in any case.
    OneOf(&'static [&'static str]),
    /// One of these words or a list of them, most wanted first.
    Names(&'static [&'static str]),
    /// A list of these words.
    ManyOf(&'static [&'static str]),
    /// A path on this host.
    Path,
    /// A token, or the absolute path of a file that holds one.
    Token,
    /// A list of `role[,role]:value`.
    Tokens,
    /// Pins or absolute paths, one or a list.
    Pins,
    /// A host name for people.
    NodeName,
    /// The cluster's name.
    ClusterName,
    /// `host:port` to listen at, with the port to assume; 0 is any that is free.
    Listen(u16),
    /// `host:port` to be reached at, with the port to assume.
    Address(u16),
    /// One such address or a list of them.
    Addresses(u16),
    /// One network (`10.0.0.0/8`, or one address) or a list of them.
    Networks,
    /// A length of time: `30m`, `1h30m`.
    Span,
    /// A length of time, `never` or 0.
    SpanOrNever,
    /// A mapping of text to text.
    Labels,
    /// Kept as written: checked when what it is for is built.
    Any,
}

impl Kind {
    /// What is expected, for a message and the reference page.
    #[must_use]
    pub fn expectation(self) -> String {
        let text = match self {
            Kind::Section => "keys of its own (a mapping)",
            Kind::Sections => "a list of mappings",
            Kind::Bool => "yes or no",
            Kind::Int(0, i64::MAX) => "a whole number",
            Kind::Int(low, i64::MAX) => return format!("a whole number from {low}"),
            Kind::Int(low, high) => return format!("a whole number from {low} to {high}"),
            Kind::Text => "a text",
            Kind::Texts => "a text or a list of texts",
            Kind::OneOf(words) => return format!("one of {}", words.join(", ")),
            Kind::Names(words) => return format!("one or a list of {}", words.join(", ")),
            Kind::ManyOf(words) => return format!("a list of {}", words.join(", ")),
            Kind::Path => "a path",
            Kind::Token => "a token or the absolute path of a file that holds one",
            Kind::Tokens => "a list of static tokens (roles:value, e.g. node,app:s3cret)",
            Kind::Pins => {
                "a pin (sha256: and 64 hexadecimal digits), the absolute path of a file, or a list of them"
            }
            Kind::NodeName => "a node name (letters, digits, `.`, `-`, `_`)",
            Kind::ClusterName => "a cluster name (letters, digits, `.`, `-`, `_`)",
            Kind::Listen(port) | Kind::Address(port) => {
                return format!("an address (host or host:port, port {port} if left out)");
            }
            Kind::Addresses(port) => {
                return format!("an address or a list of them (host or host:port, port {port} if left out)");
            }
            Kind::Networks => "a network such as 10.0.0.0/8, or a list of them",
            Kind::Span => "a length of time such as 30m, 12h or 1h30m",
            Kind::SpanOrNever => "a length of time such as 30m, 12h or 1h30m, or never",
            Kind::Labels => "labels (a mapping of text to text)",
            Kind::Any => "anything",
        };
        text.to_owned()
    }
}

/// Which versions of the file have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// All of them.
    Any,
    /// v1 and v2.
    UntilV2,
    /// v3.
    FromV3,
}

/// Whether a key does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Now,
    /// It will: reported at start until then.
    NotYet,
    /// It never will; accepted because files of old have it, reported at start.
    Never,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where.
    pub path: &'static str,
    /// What.
    pub kind: Kind,
    /// What holds when it is absent, as YAML; empty when nothing does.
    pub default: &'static str,
    /// In which versions.
    pub only: Only,
    /// Whether it does anything.
    pub effect: Effect,
    /// One sentence about it.
    pub doc: &'static str,
}

impl Key {
    pub(super) const fn new(
        path: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { path, kind, default, only: Only::Any, effect: Effect::Now, doc }
    }

    pub(super) const fn later(mut self) -> Self {
        self.effect = Effect::NotYet;
        self
    }

    pub(super) const fn never(mut self) -> Self {
        self.effect = Effect::Never;
        self
    }

    pub(super) const fn until_v2(mut self) -> Self {
        self.only = Only::UntilV2;
        self
    }

    pub(super) const fn since_v3(mut self) -> Self {
        self.only = Only::FromV3;
        self
    }

    /// The last word of the path.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The path of the section the key is in; empty at the top. A list's sections end with `[]`.
    #[must_use]
    pub fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }
}
