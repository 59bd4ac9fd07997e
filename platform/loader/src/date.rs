//! The firmware's clock as seconds since 1970.

/// What EFI's `GetTime` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// The year.
    pub year: u16,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// Hours since midnight.
    pub hour: u8,
    /// Minutes of the hour.
    pub minute: u8,
    /// Seconds of the minute.
    pub second: u8,
    /// Minutes by which this is behind universal time, where the firmware knows it.
    pub zone_minutes: Option<i16>,
}

impl Date {
    /// Seconds since the beginning of 1970, universal time; nothing where it is no date.
    pub fn unix_seconds(self) -> Option<i64> {
        let (year, month, day) = (i64::from(self.year), i64::from(self.month), i64::from(self.day));
        let clock = self.hour < 24 && self.minute < 60 && self.second < 60;
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !clock {
            return None;
        }
        // Years that begin in March have their odd day last, and five months have 153 days there.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let leap_days = year / 4 - year / 100 + year / 400;
        let days = year * 365 + leap_days + (153 * month + 2) / 5 + day - 1;
        const UNTIL_1970: i64 = 719_468;
        let minutes = i64::from(self.hour) * 60 + i64::from(self.minute) + i64::from(self.zone_minutes.unwrap_or(0));
        Some((days - UNTIL_1970) * 86_400 + minutes * 60 + i64::from(self.second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Date {
        Date { year, month, day, hour, minute, second, zone_minutes: None }
    }

    #[test]
    fn seconds_are_those_of_the_calendar() {
        // `date -u -d '2026-11-21 19:32:07' +%s` and so on.
        for (date, seconds) in [
            (at(1970, 1, 1, 0, 0, 0), 0),
            (at(2000, 2, 29, 23, 59, 59), 951_868_799),
            (at(2000, 3, 1, 0, 0, 0), 951_868_800),
            (at(2026, 11, 21, 19, 32, 7), 1_795_289_527),
            (at(2100, 3, 1, 0, 0, 0), 4_107_542_400),
            (at(1969, 12, 31, 23, 59, 59), -1),
        ] {
            assert_eq!(date.unix_seconds(), Some(seconds), "{date:?}");
        }
        let west = Date { zone_minutes: Some(60), ..at(1970, 1, 1, 0, 0, 0) };
        assert_eq!(west.unix_seconds(), Some(3600));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for date in [at(2026, 0, 1, 0, 0, 0), at(2026, 13, 1, 0, 0, 0), at(2026, 1, 0, 0, 0, 0), at(0, 1, 32, 0, 0, 0)]
        {
            assert_eq!(date.unix_seconds(), None);
        }
        assert_eq!(at(2026, 1, 1, 24, 0, 0).unix_seconds(), None);
        let mut all = at(u16::MAX, u8::MAX, u8::MAX, u8::MAX, u8::MAX, u8::MAX);
        all.zone_minutes = Some(i16::MIN);
        assert_eq!(all.unix_seconds(), None);
        assert!(at(0, 1, 1, 0, 0, 0).unix_seconds().is_some());
    }
}
