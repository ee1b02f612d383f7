//! What the index keeps of a message: its words and their places, and where the message is. No text.

use imflow_kind::conversation_key;
use imflow_proto::log::Fact;
use imflow_proto::log::fact::Change;
use imflow_proto::wire::Message;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer};
use tantivy::{Index, IndexSettings, TantivyDocument, Term};

use super::words::{Word, words};

const ANALYSER: &str = "words";

pub(super) const ID: &str = "id";
pub(super) const KEY: &str = "key";
pub(super) const CONVERSATION: &str = "conversation";
pub(super) const SEQ: &str = "seq";
pub(super) const CREATED: &str = "created";

/// The fields of the index.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    /// The serverMsgId. The documents of a segment stand by it, newest first.
    pub(super) id: Field,
    /// The conversation's key, by which documents are picked out fast.
    pub(super) key: Field,
    pub(super) conversation: Field,
    pub(super) seq: Field,
    pub(super) created: Field,
    pub(super) sender: Field,
    /// Of a forward, who said it first.
    pub(super) author: Field,
    pub(super) text: Field,
}

impl Fields {
    pub(super) fn new() -> (Self, Schema) {
        let mut schema = Schema::builder();
        let places = TextFieldIndexing::default()
            .set_tokenizer(ANALYSER)
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let fields = Self {
            id: schema.add_u64_field(ID, FAST | INDEXED),
            key: schema.add_u64_field(KEY, FAST | INDEXED),
            conversation: schema.add_text_field(CONVERSATION, TextOptions::from(FAST)),
            seq: schema.add_u64_field(SEQ, FAST),
            created: schema.add_i64_field(CREATED, FAST),
            sender: schema.add_text_field("sender", STRING),
            author: schema.add_text_field("author", STRING),
            text: schema
                .add_text_field("text", TextOptions::default().set_indexing_options(places)),
        };
        (fields, schema.build())
    }

    pub(super) fn document(&self, message: &Message) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_u64(self.id, message.server_msg_id as u64);
        document.add_u64(self.key, conversation_key(&message.conversation_id));
        document.add_text(self.conversation, &message.conversation_id);
        document.add_u64(self.seq, message.seq);
        document.add_i64(self.created, message.created_at);
        document.add_text(self.sender, &message.sender_id);
        if let Some(origin) = &message.forward_of {
            document.add_text(self.author, &origin.sender_id);
        }
        document.add_text(self.text, &message.text);
        document
    }

    /// Terms that together find what a fact erases; none: it erases nothing.
    pub(super) fn terms_erased_by(&self, fact: &Fact) -> Vec<Term> {
        let Some(Change::Erased(erased)) = &fact.change else { return Vec::new() };
        match &*erased.user_id {
            "" => vec![Term::from_field_u64(self.key, conversation_key(&fact.conversation_id))],
            user => [self.sender, self.author].map(|of| Term::from_field_text(of, user)).into(),
        }
    }

    pub(super) fn id_term(&self, server_msg_id: i64) -> Term {
        Term::from_field_u64(self.id, server_msg_id as u64)
    }
}

/// Newest first, so that a search is done with a segment once it has what it wants.
pub(super) fn settings() -> IndexSettings {
    IndexSettings {
        sort_by_field: Some(tantivy::IndexSortByField {
            field: ID.into(),
            order: tantivy::Order::Desc,
        }),
        ..IndexSettings::default()
    }
}

/// Tells an index how texts fall into words.
pub(super) fn register(index: &Index) {
    index.tokenizers().register(ANALYSER, TextAnalyzer::builder(Words).build());
}

#[derive(Clone)]
struct Words;

impl Tokenizer for Words {
    type TokenStream<'a> = Stream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream {
        Stream { words: words(text).into_iter(), place: 0, token: Token::default() }
    }
}

struct Stream {
    words: std::vec::IntoIter<Word>,
    place: usize,
    token: Token,
}

impl TokenStream for Stream {
    fn advance(&mut self) -> bool {
        let Some(word) = self.words.next() else { return false };
        self.token.offset_from = word.span.start;
        self.token.offset_to = word.span.end;
        self.token.position = self.place;
        self.token.text = word.text;
        self.place += 1;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}
