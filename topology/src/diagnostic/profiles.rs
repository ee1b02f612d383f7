//! The mistakes of a file and of its profiles, as one list.
//!
//! What is wrong in the file is wrong under every profile laid over it, and is told once. What is wrong
//! under profiles only says under which.

use super::{Diagnostic, Diagnostics, quoted};

impl Diagnostics {
    /// These mistakes of the file as it is, and those that it has under each profile.
    #[must_use]
    pub fn with_profiles(mut self, profiles: Vec<(String, Self)>) -> Self {
        let mut found: Vec<(Diagnostic, Vec<String>)> = Vec::new();
        for (profile, other) in profiles {
            let places = self.sources.adopt(&other.sources);
            for mut mistake in other.list {
                let spans = mistake.others.iter_mut().map(|(span, _)| span);
                spans.chain([&mut mistake.span]).for_each(|span| span.source = places[span.source]);
                if self.list.contains(&mistake) {
                    continue;
                }
                match found.iter_mut().find(|(known, _)| *known == mistake) {
                    Some((_, names)) => names.push(profile.clone()),
                    None => found.push((mistake, vec![profile.clone()])),
                }
            }
        }
        self.list.extend(found.into_iter().map(|(mut mistake, names)| {
            let plural = if names.len() == 1 { "" } else { "s" };
            let names = quoted(names.iter().map(String::as_str));
            mistake.message += &format!(" (under the profile{plural} {names})");
            mistake
        }));
        self.sort();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Code;
    use crate::diagnostic::{Sources, Span};

    fn with(mistakes: &[&str]) -> Diagnostics {
        let mut diagnostics = Diagnostics::new(Sources::new("a.toml", "x = 1"));
        // Another profile, another number of texts before the one that both have.
        for mistake in mistakes {
            diagnostics.sources.add("--set", mistake);
        }
        let source = diagnostics.sources.add("b.toml", "y = 1");
        for mistake in mistakes {
            let span = Span { source, range: 0..1 };
            diagnostics.error(Code::BadValue, &span, (*mistake).to_owned(), "here");
        }
        diagnostics
    }

    #[test]
    fn each_mistake_is_told_once_with_the_profiles_that_have_it() {
        let profiles = [("dev", vec!["file", "both"]), ("prod", vec!["both", "file", "prod"])];
        let profiles = profiles.map(|(name, mistakes)| (name.to_owned(), with(&mistakes)));
        let all = with(&["file"]).with_profiles(profiles.into());
        let told: Vec<_> = all.list().iter().map(|d| d.message.as_str()).collect();
        assert_eq!(
            told,
            ["file", "both (under the profiles `dev`, `prod`)", "prod (under the profile `prod`)"]
        );
        assert!(all.list().iter().all(|d| all.sources().place(&d.span).file == "b.toml"));
    }
}
