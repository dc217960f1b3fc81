//! The Date field: seconds since 1970 as text (IMF-fixdate, RFC 9110 section 5.6.7).
//!
//! It knows no clock: the caller provides the time.

/// The current second, rendered. Rendering happens once a second, not once a response.
#[derive(Debug, Clone)]
pub(crate) struct Date {
    unix_seconds: u64,
    text: [u8; LENGTH],
}

impl Date {
    /// The start of 1970, until `set` is called.
    pub(crate) const fn new() -> Self {
        Self { unix_seconds: 0, text: *b"Thu, 01 Jan 1970 00:00:00 GMT" }
    }

    /// Costs one comparison unless the second has changed. After the year 9999 it no longer
    /// changes.
    pub(crate) fn set(&mut self, unix_seconds: u64) {
        if unix_seconds != self.unix_seconds {
            self.unix_seconds = unix_seconds;
            self.text = render(unix_seconds.min(LAST_SECOND));
        }
    }

    /// The last time set, in seconds since 1970.
    pub(crate) const fn unix_seconds(&self) -> u64 {
        self.unix_seconds
    }

    /// The date, for example `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub(crate) const fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.text
    }
}

fn render(unix_seconds: u64) -> [u8; LENGTH] {
    let (days, second_of_day) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let mut text = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    text[..3].copy_from_slice(WEEKDAYS[(days % 7) as usize]);
    text[8..11].copy_from_slice(MONTHS[month as usize]);
    let mut two_digits = |at: usize, value: u64| {
        text[at] = b'0' + (value / 10 % 10) as u8;
        text[at + 1] = b'0' + (value % 10) as u8;
    };
    two_digits(5, day);
    two_digits(12, year / 100);
    two_digits(14, year % 100);
    two_digits(17, second_of_day / 3600);
    two_digits(20, second_of_day / 60 % 60);
    two_digits(23, second_of_day % 60);
    text
}

/// Year, month (0 is January) and day of month of a day since 1970-01-01.
///
/// Counts in eras of 400 years and in years that start in March, so that the leap day is the last
/// day of a year and months follow a fixed pattern of lengths (153 days in five months).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (era, day_of_era) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year, month, day)
}

const LENGTH: usize = 29;
/// 9999-12-31T23:59:59Z: the format has four digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;
/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;
const DAYS_OF_ERA: u64 = 146_097;
/// 1970 began on a Thursday.
const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(unix_seconds: u64) -> String {
        let mut date = Date::new();
        date.set(unix_seconds);
        String::from_utf8_lossy(date.as_bytes()).into_owned()
    }

    #[test]
    fn known_dates() {
        // From `date -u -R -d @N`; the second is RFC 9110's own example.
        let known = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (68_169_600, "Tue, 29 Feb 1972 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (unix_seconds, expected) in known {
            assert_eq!(text(unix_seconds), expected);
        }
    }

    #[test]
    fn days_follow_each_other_for_300_years() {
        let (mut year, mut month, mut day) = (1970, 0, 1);
        for days in 0..300 * 366 {
            assert_eq!(civil_from_days(days), (year, month, day));
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                1 => 28 + u64::from(is_leap),
                3 | 5 | 8 | 10 => 30,
                _ => 31,
            };
            (month, day) = if day == length { (month + 1, 1) } else { (month, day + 1) };
            (year, month) = if month == 12 { (year + 1, 0) } else { (year, month) };
        }
    }
}
