//! What an explanation is made of, whatever it is written as.

/// One kind or record type; without blocks, the title of the pages that follow.
pub struct Page {
    pub title: String,
    pub blocks: Vec<Block>,
}

pub enum Block {
    Heading(String),
    /// Paragraphs, with empty lines between them and `code` in back quotes.
    Text(String),
    /// Things that have a name.
    Entries {
        columns: &'static [&'static str],
        rows: Vec<Entry>,
    },
    /// A piece of a topology.
    Example(String),
}

/// What is not there is empty.
pub struct Entry {
    /// `code` stands in back quotes where it is one.
    pub name: String,
    /// A type, a bound.
    pub note: String,
    pub meaning: String,
}
