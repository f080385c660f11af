//! Where things stand on the timeline's clock. Pure arithmetic, in milliseconds.

/// The clock's end and the distance of its ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    pub end: u32,
    pub tick: u32,
}

const SECOND: u32 = 1000;
const TICKS: [u32; 12] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1800];
const FEWEST: u32 = 4;
const MOST: u32 = 8;

impl Axis {
    /// Ends at the next 5 s after `until`, with 4 to 8 ticks.
    pub fn new(until: u32) -> Self {
        let end = (until / (5 * SECOND) + 1) * 5 * SECOND;
        let fitting = TICKS.into_iter().map(|tick| tick * SECOND).find_map(|tick| {
            let ticks = end.div_ceil(tick);
            ((FEWEST..=MOST).contains(&ticks)).then_some(Self { end: ticks * tick, tick })
        });
        fitting.unwrap_or_else(|| {
            let tick = end.div_ceil(MOST).div_ceil(SECOND) * SECOND;
            Self { end: tick * MOST, tick }
        })
    }

    pub fn ticks(self) -> u32 {
        self.end / self.tick
    }

    /// A moment, or a length, as a share of the whole: `12.74%`.
    pub fn share(self, milliseconds: u32) -> String {
        format!("{:.2}%", self.percent(milliseconds))
    }

    pub fn percent(self, milliseconds: u32) -> f64 {
        f64::from(milliseconds) * 100.0 / f64::from(self.end)
    }
}

/// `0 s`, `35 s`, `2 min`.
pub fn tick_label(milliseconds: u32) -> String {
    let seconds = milliseconds / SECOND;
    if seconds >= 120 && seconds.is_multiple_of(60) { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
}

/// Slow: half as long again as usual, and by at least half a second.
pub fn is_slow(took: u32, usual: u32) -> bool {
    u64::from(took) * 2 >= u64::from(usual) * 3 && took.saturating_sub(usual) >= SECOND / 2
}

/// `2.4 × usual`.
pub fn times_usual(took: u32, usual: u32) -> String {
    format!("{:.1} × usual", f64::from(took) / f64::from(usual.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_the_next_five_seconds_and_has_four_to_eight_ticks() {
        for (until, end, tick) in [(30_740, 35, 5), (46_600, 50, 10), (4_950, 5, 1), (7_000, 10, 2), (0, 5, 1), (100_000, 105, 15)] {
            assert_eq!(Axis::new(until), Axis { end: end * 1000, tick: tick * 1000 }, "{until}");
        }
        for until in (0..4_000_000).step_by(777) {
            let axis = Axis::new(until);
            assert!(axis.end > until && (FEWEST..=MOST).contains(&axis.ticks()), "{until}: {axis:?}");
        }
    }

    #[test]
    fn slow_is_half_as_long_again_and_half_a_second() {
        assert!(is_slow(2630, 1100));
        assert!(!is_slow(400, 100));
        assert!(!is_slow(20_310, 19_600));
        assert_eq!(times_usual(2630, 1100), "2.4 × usual");
    }
}
