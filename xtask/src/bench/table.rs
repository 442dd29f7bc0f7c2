//! Figures: a median, its range, and how many rounds it came from.

use anyhow::Result;
use serde::Serialize;
use whyslow_tests::stats::{median, quantile};

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    /// Case.
    case: &'static str,
    /// What ran beside it: "no agent", "agent, watched", ...
    variant: String,
    /// What was measured.
    metric: &'static str,
    /// Its unit.
    unit: &'static str,
    /// Middle of the rounds.
    median: f64,
    /// Smallest.
    min: f64,
    /// Largest.
    max: f64,
    /// 95 % interval of the median, from order statistics; the range when there are too few rounds.
    low: f64,
    /// Its upper end.
    high: f64,
    /// Rounds.
    rounds: usize,
}

/// All figures.
#[derive(Debug, Default)]
pub(super) struct Table {
    figures: Vec<Figure>,
}

impl Table {
    /// Adds the figure of these rounds; none without rounds.
    pub(super) fn add(
        &mut self,
        case: &'static str,
        variant: impl Into<String>,
        metric: &'static str,
        unit: &'static str,
        rounds: &[f64],
    ) {
        let (Some(middle), Some(min), Some(max)) =
            (median(rounds), quantile(rounds, 0.0), quantile(rounds, 1.0))
        else {
            return;
        };
        let (low, high) = interval(rounds);
        self.figures.push(Figure {
            case,
            variant: variant.into(),
            metric,
            unit,
            median: middle,
            min,
            max,
            low,
            high,
            rounds: rounds.len(),
        });
    }

    /// As a table for people.
    pub(super) fn print(&self) {
        println!(
            "{:9} {:52} {:28} {:>10} {:>10} {:>10} {:>21} {:>6}",
            "case", "variant", "metric", "median", "min", "max", "95 % of the median", "rounds"
        );
        for figure in &self.figures {
            println!(
                "{:9} {:52} {:28} {:>10} {:>10} {:>10} {:>10} {:>10} {:>6}",
                figure.case,
                figure.variant,
                format!("{}, {}", figure.metric, figure.unit),
                short(figure.median),
                short(figure.min),
                short(figure.max),
                short(figure.low),
                short(figure.high),
                figure.rounds
            );
        }
    }

    /// One JSON object per line.
    ///
    /// # Errors
    /// When a figure is not a number.
    pub(super) fn print_json(&self) -> Result<()> {
        for figure in &self.figures {
            println!("{}", serde_json::to_string(figure)?);
        }
        Ok(())
    }
}

/// Four significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// 95 % interval of the median: the order statistics between which a fair coin's count of heads falls
/// in 95 % of cases. Below six rounds there is none, and the range is given.
fn interval(rounds: &[f64]) -> (f64, f64) {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let mut below = 0;
    // P(heads <= below) for n throws; stop before it exceeds 2.5 %.
    let mut probability = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut cumulated = probability;
    while cumulated <= 0.025 && below + 1 < n / 2 {
        below += 1;
        #[expect(clippy::cast_precision_loss, reason = "a count of rounds")]
        let step = (n - below + 1) as f64 / below as f64;
        probability *= step;
        cumulated += probability;
    }
    // `below` is now the first count that is too likely: that many values lie outside on each side.
    let outside = if cumulated > 0.025 {
        below.saturating_sub(1)
    } else {
        below
    };
    (
        sorted.get(outside).copied().unwrap_or(f64::NAN),
        sorted
            .get(n.saturating_sub(1 + outside))
            .copied()
            .unwrap_or(f64::NAN),
    )
}

/// Quotients of two variants in the same rounds.
pub(super) fn ratios(over: &[f64], under: &[f64]) -> Vec<f64> {
    over.iter().zip(under).map(|(a, b)| a / b).collect()
}

/// Differences of two variants in the same rounds.
pub(super) fn differences(from: &[f64], less: &[f64]) -> Vec<f64> {
    from.iter().zip(less).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_the_median() {
        let rounds: Vec<f64> = (1..=20).map(f64::from).collect();
        // Ranks 6 and 15 of 20: the textbook's 95.9 % interval.
        assert_eq!(interval(&rounds), (6.0, 15.0));
        // Ranks 2 and 8 of 9 (96.1 %).
        assert_eq!(interval(&rounds[..9]), (2.0, 8.0));
        // Too few for 95 %: the range.
        assert_eq!(interval(&rounds[..4]), (1.0, 4.0));
    }

    #[test]
    fn pairs() {
        assert_eq!(ratios(&[2.0, 9.0], &[1.0, 3.0]), [2.0, 3.0]);
        assert_eq!(differences(&[2.0, 9.0], &[1.0, 3.0]), [1.0, 6.0]);
    }
}
