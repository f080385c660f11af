//! Times and sizes as a person reads them. Everything is UTC, so that server and browser render the same.

use time::OffsetDateTime;

/// Milliseconds since the Unix epoch.
pub fn millis(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Such as `23 Nov 2026, 13:58:48 UTC`.
pub fn exact(at: OffsetDateTime) -> String {
    format!("{}, {:02}:{:02}:{:02} UTC", day(at), at.hour(), at.minute(), at.second())
}

/// Such as `23 Nov 2026`.
pub fn day(at: OffsetDateTime) -> String {
    format!("{} {}", short_day(at), at.year())
}

/// Such as `23 Nov`.
pub fn short_day(at: OffsetDateTime) -> String {
    format!("{} {}", at.day(), MONTHS[usize::from(u8::from(at.month())) - 1])
}

/// Such as `13:58:48`.
pub fn clock_time(at: OffsetDateTime) -> String {
    format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
}

/// Value of a `datetime` attribute.
pub fn machine(at: OffsetDateTime) -> String {
    let month = u8::from(at.month());
    format!("{:04}-{month:02}-{:02}T{:02}:{:02}:{:02}Z", at.year(), at.day(), at.hour(), at.minute(), at.second())
}

/// One unit, rounded down: `8 s`, `4 min`, `2 h`, `3 d`, `5 months`.
pub fn span(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const MONTH: i64 = 30 * DAY;
    match seconds.max(0) {
        s if s < MINUTE => format!("{s} s"),
        s if s < HOUR => format!("{} min", s / MINUTE),
        s if s < DAY => format!("{} h", s / HOUR),
        s if s < 2 * MONTH => format!("{} d", s / DAY),
        s if s < 24 * MONTH => format!("{} months", s / MONTH),
        s => format!("{} years", s / (12 * MONTH)),
    }
}

/// Two units where it matters: `56 s`, `12 min`, `2 h 14 min`, `3 d 4 h`.
pub fn long_span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) if minutes == 0 => format!("{seconds} s"),
        (0, 0) => format!("{minutes} min"),
        (0, h) => format!("{h} h {minutes} min"),
        (d, h) => format!("{d} d {h} h"),
    }
}

/// `4 min ago`, `yesterday` or `now`.
pub fn ago(now: i64, at: OffsetDateTime) -> String {
    match (now - millis(at)).div_euclid(1000) {
        s if s < 1 => "now".to_owned(),
        s if (86_400..172_800).contains(&s) => "yesterday".to_owned(),
        s => format!("{} ago", span(s)),
    }
}

/// Two decimals, as seconds are compared; one from 100 s on.
pub fn seconds(milliseconds: u32) -> String {
    let decimals = if milliseconds < 100_000 { 2 } else { 1 };
    format!("{:.decimals$}", f64::from(milliseconds) / 1000.0)
}

/// One decimal, as seconds are said in a sentence.
pub fn short_seconds(milliseconds: u32) -> String {
    format!("{:.1} s", f64::from(milliseconds) / 1000.0)
}

/// Gibibytes with as many decimals as help: `0.74`, `3.1`, `20`.
pub fn gigabytes(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    // Rounded to the nearest of so many parts of a gibibyte.
    let parts = |of: u64| bytes.saturating_mul(of).saturating_add(GIB / 2) / GIB;
    match (parts(100), parts(10)) {
        (hundredths, _) if hundredths < 100 => format!("0.{hundredths:02}"),
        (_, tenths) if tenths < 100 => format!("{}.{}", tenths / 10, tenths % 10),
        _ => thousands(parts(1)),
    }
}

/// `1,204`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Thousandths of a core as cores: `0.5`, `2`.
pub fn cores(milli: u64) -> String {
    let text = format!("{}.{:03}", milli / 1000, milli % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1 pod`, `3 pods`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", thousands(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_as_people_say_them() {
        let at = OffsetDateTime::from_unix_timestamp(1_795_442_328).unwrap();
        assert_eq!(exact(at), "23 Nov 2026, 13:58:48 UTC");
        assert_eq!(machine(at), "2026-11-23T13:58:48Z");
        let now = millis(at);
        for (after, words) in [(0, "now"), (8, "8 s ago"), (250, "4 min ago"), (7300, "2 h ago"), (90_000, "yesterday"), (700_000, "8 d ago")] {
            assert_eq!(ago(now + after * 1000, at), words);
        }
        assert_eq!(long_span(8040), "2 h 14 min");
        assert_eq!((gigabytes(794_568_950), gigabytes(3_328_599_654), gigabytes(20 << 30)), ("0.74".into(), "3.1".into(), "20".into()));
        assert_eq!((thousands(1204), cores(500), cores(2000), cores(0)), ("1,204".into(), "0.5".into(), "2".into(), "0".into()));
    }
}
