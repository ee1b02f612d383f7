//! Durations and sizes as people write them: `"250ms"`, `"3s"`, `"64KiB"`.

/// Units of durations, in milliseconds.
pub const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// Units of sizes, in bytes.
pub const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Milliseconds of `"250ms"`, `"3s"`, `"5m"`, `"2h"`, `"7d"`.
///
/// # Errors
/// What was expected, as a sentence without a place.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    with_unit(text, &DURATIONS).ok_or_else(|| {
        format!("`{text}` is not a duration such as \"250ms\", \"3s\", \"5m\", \"2h\" or \"7d\"")
    })
}

/// Bytes of `"512B"`, `"64KiB"`, `"256MiB"`.
///
/// # Errors
/// What was expected, as a sentence without a place.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    with_unit(text, &SIZES)
        .ok_or_else(|| format!("`{text}` is not a size such as \"512B\", \"64KiB\" or \"256MiB\""))
}

/// A duration in its largest whole unit.
pub fn show_ms(ms: u64) -> String {
    show(ms, &DURATIONS)
}

/// A size in its largest whole unit.
pub fn show_bytes(bytes: u64) -> String {
    show(bytes, &SIZES[..4])
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let factor = units.iter().find(|(unit, _)| *unit == text[digits..].trim_start())?.1;
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let unit =
        units.iter().rev().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    let (unit, factor) = unit.unwrap_or(&units[0]);
    format!("{}{unit}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_written_as_people_write_them() {
        assert_eq!(duration_ms("250ms"), Ok(250));
        assert_eq!(duration_ms("7d"), Ok(604_800_000));
        assert_eq!(size_bytes("64 KiB"), Ok(65_536));
        for bad in ["", "3", "s", "3 years", "-1s", "99999999999999999999d"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
        assert_eq!((show_ms(3_000), show_bytes(1 << 26)), ("3s".to_owned(), "64MiB".to_owned()));
    }
}
