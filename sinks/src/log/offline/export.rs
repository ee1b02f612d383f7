//! What a log holds about one user, while a service runs on it or none; see [`crate::log::export`].

use serde_json::Value;

use super::{Dumped, OfflineLog, walk};
use crate::log::LogError;
use crate::log::base::Base;
use crate::log::erase::Targets;
use crate::log::export;

impl OfflineLog {
    /// The last segment that was cut off the front; 0: none was.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn cut_up_to(&self) -> Result<u32, LogError> {
        Ok(Base::load(&*self.files)?.segment)
    }

    /// Gives all that is about a user to `line`, as JSON, and one record at a time.
    ///
    /// # Errors
    /// When the disk fails, or `line` does.
    pub fn export(
        &self,
        user_id: &str,
        line: &mut dyn FnMut(&Value) -> std::io::Result<()>,
    ) -> Result<Dumped, LogError> {
        let mut records = 0;
        let mut tell = |told: &Value| {
            records += 1;
            line(told).map_err(LogError::io("write", "standard output"))
        };
        let nothing = Targets::default();
        export::of_base(user_id, &Base::load(&*self.files)?).iter().try_for_each(&mut tell)?;
        let walked = walk::walk(&self.segments()?, &mut |_, record| {
            export::about(user_id, record, &nothing).iter().try_for_each(&mut tell)?;
            Ok(true)
        })?;
        if walked.problems.is_empty() {
            tell(&export::end(walked.last_lsn))?;
        }
        Ok(Dumped { records, problems: walked.problems })
    }
}
