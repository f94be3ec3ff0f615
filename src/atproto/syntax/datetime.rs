//! Datetimes of records (LX-12): the common part of RFC 3339 and ISO 8601, kept as written.
//!
//! Not for: reading the clock; its microseconds are an argument.

use super::text_type;

/// Longest datetime, in bytes; as peers have it.
const DATETIME_BYTES_MAX: usize = 64;
const SECS_PER_DAY: i64 = 86_400;
const MICROS_PER_SEC: i64 = 1_000_000;
/// 0000-01-01T00:00:00Z, the earliest instant (LX-12).
const EARLIEST_SECS: i64 = days_from_civil(0, 1, 1) * SECS_PER_DAY;
/// 9999-12-31T23:59:59Z, the latest that can be written in UTC.
const LATEST_SECS: i64 = days_from_civil(10_000, 1, 1) * SECS_PER_DAY - 1;

text_type! {
    /// `1985-04-12T23:20:50.123Z`. Compared as text; compare [`Datetime::to_micros`] for time.
    Datetime, "datetime", check
}

impl Datetime {
    /// UTC with milliseconds, `2024-01-02T03:04:05.678Z`, from microseconds since 1970.
    ///
    /// Times outside the years 0 to 9999 become the nearest within.
    pub fn from_micros(micros: i64) -> Datetime {
        let secs = micros.div_euclid(MICROS_PER_SEC);
        let (secs, millis) = match secs.clamp(EARLIEST_SECS, LATEST_SECS) {
            clamped if clamped < secs => (clamped, 999),
            clamped if clamped > secs => (clamped, 0),
            _ => (secs, micros.rem_euclid(MICROS_PER_SEC) / 1_000),
        };
        let (year, month, day) = civil_from_days(secs.div_euclid(SECS_PER_DAY));
        let second = secs.rem_euclid(SECS_PER_DAY);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        Datetime(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"))
    }

    /// Microseconds since 1970, finer digits cut off.
    pub fn to_micros(&self) -> i64 {
        parse_micros(self.as_str()).unwrap_or_default()
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    parse_micros(text).map(|_| ())
}

const FORM: &str = "must have the form 2024-01-02T03:04:05.678Z";

fn parse_micros(text: &str) -> Result<i64, &'static str> {
    if text.len() > DATETIME_BYTES_MAX {
        return Err("is longer than 64 characters");
    }
    let (moment, rest) = text.as_bytes().split_at_checked(19).ok_or(FORM)?;
    let number = |from: usize, to: usize| digits(&moment[from..to]).ok_or(FORM);
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|(idx, separator)| moment[*idx] != *separator) {
        return Err(FORM);
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);

    let (micros, zone) = fraction(rest)?;
    let offset_minutes = offset(zone)?;

    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return Err("names a day that is not in the calendar");
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err("names a time that is not on the clock");
    }
    let secs = days_from_civil(year, month, day) * SECS_PER_DAY
        + hour * 3_600
        + (minute - offset_minutes) * 60
        + second;
    if secs < EARLIEST_SECS {
        return Err("is before the year 0 in UTC");
    }
    Ok(secs * MICROS_PER_SEC + micros)
}

/// Splits `.123Z` into its microseconds and the zone.
fn fraction(rest: &[u8]) -> Result<(i64, &[u8]), &'static str> {
    let Some(rest) = rest.strip_prefix(b".") else {
        return Ok((0, rest));
    };
    let n_digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if n_digits == 0 {
        return Err("must have digits after the decimal point");
    }
    let (fraction, zone) = rest.split_at(n_digits);
    let micros = (0..6).fold(0, |n, idx| 10 * n + fraction.get(idx).map_or(0, |b| i64::from(b - b'0')));
    Ok((micros, zone))
}

/// Minutes that local time is ahead of UTC.
fn offset(zone: &[u8]) -> Result<i64, &'static str> {
    let (sign, zone) = match zone {
        b"Z" => return Ok(0),
        b"-00:00" => return Err("must not have the zone -00:00; write Z"),
        [b'+', zone @ ..] => (1, zone),
        [b'-', zone @ ..] => (-1, zone),
        _ => return Err("must end with a zone: Z or +hh:mm or -hh:mm"),
    };
    let [h1, h2, b':', m1, m2] = *zone else {
        return Err("must end with a zone: Z or +hh:mm or -hh:mm");
    };
    match (digits(&[h1, h2]), digits(&[m1, m2])) {
        (Some(hours @ 0..=23), Some(minutes @ 0..=59)) => Ok(sign * (60 * hours + minutes)),
        _ => Err("must have a zone from -23:59 to +23:59"),
    }
}

/// The number that at most four ASCII digits make.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| 10 * n + i64::from(b - b'0')))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
///
/// Counts from 1 March of year 0, so that the leap day is the last of its year.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + day_of_year - 719_468
}

/// Year, month and day of a day counted from 1970-01-01; the inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_400_YEARS: i64 = 146_097;
    let days = days + 719_468;
    let era = days.div_euclid(DAYS_PER_400_YEARS);
    let day_of_era = days.rem_euclid(DAYS_PER_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = 400 * era + year_of_era;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn micros(text: &str) -> i64 {
        Datetime::parse(text).unwrap().to_micros()
    }

    #[test]
    fn the_text_is_kept_and_the_zone_applied() {
        // LX-12
        let text = "1985-04-12T23:20:50.1235678912345+01:45";
        assert_eq!(Datetime::parse(text).unwrap().as_str(), text);
        assert_eq!(micros("1970-01-01T00:00:00Z"), 0);
        assert_eq!(micros("1970-01-01T01:00:00.5+01:00"), 500_000);
        assert_eq!(micros("1969-12-31T23:59:59.999999Z"), -1);
        assert_eq!(micros("2024-02-29T00:00:00-00:30"), micros("2024-02-29T00:30:00Z"));
        assert_eq!(micros("2001-09-09T01:46:40Z"), 1_000_000_000_000_000);
    }

    #[test]
    fn what_is_not_on_calendar_or_clock_is_refused() {
        for bad in [
            "1985-00-12T23:20:50Z",
            "1985-13-12T23:20:50Z",
            "1985-04-31T23:20:50Z",
            "2023-02-29T23:20:50Z",
            "1900-02-29T00:00:00Z",
            "1985-04-12T24:00:00Z",
            "1985-04-12T23:60:00Z",
            "1985-04-12T23:59:60Z",
            "1985-04-12T23:20:50+24:00",
            "1985-04-12T23:20:50+01:60",
            "0000-01-01T00:00:00+00:01",
        ] {
            assert!(Datetime::parse(bad).is_err(), "{bad}");
        }
        assert!(Datetime::parse("2000-02-29T00:00:00Z").is_ok());
        assert!(Datetime::parse("0000-01-01T00:00:00Z").is_ok());
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in [
            "",
            "1985-04-12",
            "1985-04-12T23:20Z",
            "1985-04-12T23:20:50",
            "1985-04-12t23:20:50Z",
            "1985-04-12T23:20:50z",
            "1985-04-12T23:20:50.Z",
            "1985-04-12T23:20:50,1Z",
            "1985-04-12T23:20:50-00:00",
            "1985-04-12T23:20:50+0100",
            "1985-04-12T23:20:50+01",
            "1985-04-12 23:20:50Z",
            "+985-04-12T23:20:50Z",
            "01985-04-12T23:20:50Z",
            " 1985-04-12T23:20:50Z",
            "1985-04-12T23:20:50Z ",
            "1985-04-12T23:20:5éZ",
        ] {
            assert!(Datetime::parse(bad).is_err(), "{bad}");
        }
        let long = format!("1985-04-12T23:20:50.{}Z", "1".repeat(43));
        assert!(Datetime::parse(&long).is_ok());
        assert!(Datetime::parse(&long.replace('Z', "1Z")).is_err());
    }

    #[test]
    fn times_that_cannot_be_written_become_the_nearest_that_can() {
        assert_eq!(Datetime::from_micros(i64::MIN).as_str(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Datetime::from_micros(i64::MAX).as_str(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Datetime::from_micros(-1).as_str(), "1969-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn writing_and_reading_agree(millis in EARLIEST_SECS * 1_000..=LATEST_SECS * 1_000) {
            let datetime = Datetime::from_micros(millis * 1_000);
            prop_assert_eq!(Datetime::parse(datetime.as_str()), Ok(datetime.clone()));
            prop_assert_eq!(datetime.to_micros(), millis * 1_000);
        }
    }
}
