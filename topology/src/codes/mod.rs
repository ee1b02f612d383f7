//! The codes of mistakes: each a page with a title, an explanation, a wrong and a right example.
//!
//! A code keeps its number and its meaning for ever. The pages are Markdown files beside this one; tests
//! compile their examples. An example is written as changes to the shipped `dataflow.toml`, unless its
//! block is marked `whole` (a topology) or `test` (a file for `imflow test`).

/// A list of codes, each with the page of its number.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal),* $(,)?) => {
        /// What kind of mistake it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $name),*
        }

        impl Code {
            /// All codes, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Stable: `E001`.
            pub fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id),*
                }
            }

            /// The whole page, in Markdown.
            pub fn page(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(concat!($id, ".md"))),*
                }
            }
        }
    };
}

codes! {
    Syntax = "E001",
    UnknownTable = "E002",
    UnknownKey = "E003",
    UnknownKind = "E004",
    UnknownInput = "E005",
    UnknownPort = "E006",
    WrongType = "E007",
    MissingKey = "E008",
    BadValue = "E009",
    DuplicateName = "E010",
    TypeMismatch = "E011",
    MissingInput = "E012",
    BadReference = "E013",
    TakenTwice = "E014",
    Cycle = "E015",
    UnsetVariable = "E016",
    BadExpression = "E017",
    /// An option that is wrong for what the node's inputs carry.
    BadOption = "E018",
    Unanswered = "E019",
    AnsweredTwice = "E020",
    TwoOrders = "E021",
    Unauthorised = "E022",
    StageCycle = "E023",
    MissingFeature = "E024",
    Contradiction = "E025",
    BadInclude = "E026",
    BadProfile = "E027",
    BadTemplate = "E028",
    NoSimulation = "E030",
    UnknownField = "E031",
    TimeGoesBack = "E032",
    NeverRetracted = "E033",
    NotSimulated = "E034",
}

/// An example of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    pub text: &'static str,
    pub of: ExampleOf,
}

/// What an example is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExampleOf {
    /// Changes to the shipped file.
    Changes,
    /// A topology by itself.
    Whole,
    /// A file for `imflow test`, of the shipped topology.
    Test,
}

impl Example {
    /// Whether it changes the shipped file.
    pub fn is_change(self) -> bool {
        self.of == ExampleOf::Changes
    }
}

impl Code {
    /// The code of a number such as `E017` or `e017`.
    pub fn find(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.id().eq_ignore_ascii_case(id))
    }

    /// Whether a mistake of this code leaves wires missing or unsound, so that what a path promises cannot
    /// be judged.
    pub(crate) fn breaks_wires(self) -> bool {
        !matches!(
            self,
            Self::UnknownKey
                | Self::BadValue
                | Self::BadReference
                | Self::TakenTwice
                | Self::UnsetVariable
                | Self::MissingFeature
                | Self::Contradiction
                | Self::BadProfile
                | Self::NoSimulation
        )
    }

    /// One line.
    pub fn title(self) -> &'static str {
        self.page().lines().next().unwrap_or_default().trim_start_matches("# ")
    }

    /// What it means, why it is one, and how it goes away.
    pub fn explanation(self) -> &'static str {
        let (_, rest) = self.page().split_once('\n').unwrap_or_default();
        rest.split("\n## ").next().unwrap_or_default().trim()
    }

    /// A file that has this mistake and no other.
    pub fn wrong(self) -> Example {
        self.example("\n## Wrong\n")
    }

    /// The same without it.
    pub fn right(self) -> Example {
        self.example("\n## Right\n")
    }

    fn example(self, heading: &str) -> Example {
        let section = self.page().split(heading).nth(1).unwrap_or_default();
        let block = section.split("```toml").nth(1).unwrap_or_default();
        let (marks, rest) = block.split_once('\n').unwrap_or_default();
        let of = match marks.trim() {
            "whole" => ExampleOf::Whole,
            "test" => ExampleOf::Test,
            _ => ExampleOf::Changes,
        };
        Example { text: rest.split("```").next().unwrap_or_default(), of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_its_parts() {
        for code in Code::ALL {
            let id = code.id();
            assert!(code.page().starts_with("# "), "{id} has no title");
            assert!(code.title().len() < 80, "{id}: the title is one short line");
            assert!(code.explanation().len() > 80, "{id} explains too little");
            assert!(!code.wrong().text.is_empty(), "{id} has no wrong example");
            assert!(!code.right().text.is_empty(), "{id} has no right example");
        }
    }
}
