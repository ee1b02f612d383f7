//! Erases what a user said, or what a conversation holds, while no service runs.
//!
//! As a service does it: a record that asks for it, first in a segment, then the segments before it. A crash in
//! between leaves the record, by which the next start finishes.

use imflow_proto::log::fact::Change;
use imflow_proto::log::{self, Fact};
use imflow_proto::record::Lsn;

use super::{OfflineLog, walk};
use crate::log::LogError;
use crate::log::base::Base;
use crate::log::erase::{self, Subject, Targets};
use crate::log::files::Files as _;
use crate::log::frame::{self, FACT, HEADER, Header, MESSAGE, STARTS_COMMIT};
use crate::log::recover::{Recovered, Tail, recover};
use crate::log::segments::{self, Segments};

/// Whose content is erased.
#[derive(Clone, Debug)]
pub enum Whose {
    User(String),
    Conversation(String),
}

impl OfflineLog {
    /// How many messages an erasure would empty.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn would_erase(&self, whose: &Whose) -> Result<u64, LogError> {
        let mut targets = Targets::default();
        targets.add(whose.subject(), Lsn::MAX);
        let mut count = 0;
        walk::walk(&self.segments()?, &mut |_, record| {
            if record.kind == MESSAGE
                && let Ok(mut message) = record.message()
            {
                count += u64::from(targets.strip(record.lsn, &mut message));
            }
            Ok(true)
        })?;
        Ok(count)
    }

    /// Erases; gives the record that asked for it. The index goes, as it may hold traces.
    ///
    /// # Errors
    /// When a service runs on the directory, the log is damaged, or the disk fails.
    pub fn erase(&self, whose: &Whose, now_ms: i64) -> Result<Lsn, LogError> {
        let _lock = self.lock()?;
        let segment = self.segments()?.last().map(|segment| segment.file.size());
        let Some(segment) = segment else {
            let text = format!("there is no segment in `{}`", self.data.join("log").display());
            return Err(LogError::Refused(text));
        };
        let Recovered { mut known, tail, spares } = recover(&*self.files, segment)?;
        let lsn = tail.next_lsn;
        let spare = spares.into_iter().next().map(|(_, file)| file);
        let number = self.ask(whose, now_ms, tail, spare, segment)?;
        known.insert(number, lsn);
        let segments = Segments::new(std::sync::Arc::clone(&self.files) as _, known);
        let mut targets = Targets::default();
        targets.add(whose.subject(), lsn);
        for number in segments.numbers().into_iter().filter(|other| *other < number) {
            erase::rewrite(&segments, number, &targets)?;
        }
        Base::erase(&*self.files, &whose.subject())?;
        self.remove_index()?;
        Ok(lsn)
    }

    /// Makes the record that asks for it durable; gives the segment that it begins.
    fn ask(
        &self,
        whose: &Whose,
        now_ms: i64,
        tail: Tail,
        spare: Option<std::sync::Arc<dyn crate::log::files::LogFile>>,
        size: u64,
    ) -> Result<u32, LogError> {
        let (number, file) = match tail.end > HEADER as u64 {
            false => (tail.segment, tail.file),
            true => {
                let number = tail.segment + 1;
                let name = segments::name(number);
                let made = spare.map_or_else(|| self.files.create_zeroed(&name, size), Ok);
                let path = self.files.path(&name);
                (number, made.map_err(LogError::io("make the next segment", path))?)
            }
        };
        let header = Header { segment: number, first_lsn: tail.next_lsn };
        let mut bytes = header.to_bytes().to_vec();
        frame::append(&mut bytes, tail.next_lsn, FACT | STARTS_COMMIT, &whose.fact(now_ms));
        let path = self.files.path(&segments::name(number));
        file.write_at(&bytes, 0)
            .and_then(|()| file.sync())
            .map_err(LogError::io("write to the log's segment", path))?;
        Ok(number)
    }
}

impl Whose {
    fn subject(&self) -> Subject {
        match self {
            Self::User(id) => Subject::User(id.clone()),
            Self::Conversation(id) => Subject::Conversation(id.clone()),
        }
    }

    fn fact(&self, at: i64) -> Fact {
        let (conversation_id, user_id) = match self {
            Self::User(id) => (String::new(), id.clone()),
            Self::Conversation(id) => (id.clone(), String::new()),
        };
        let change = Some(Change::Erased(log::Erased { user_id }));
        Fact { conversation_id, at, by: String::new(), change }
    }
}
