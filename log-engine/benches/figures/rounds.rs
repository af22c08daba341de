//! Contenders in turn, several rounds, so that whatever disturbs the machine disturbs all of them.

use super::{
    support::is_quick,
    table::{Required, line, quantile},
};

/// What one contender came to, a value a round.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f64>,
}

impl Contender {
    pub(crate) fn median(&self) -> f64 {
        quantile(&mut self.values.clone(), 0.5)
    }

    /// The ratio of this one to another, round by round: least, median and greatest.
    fn ratios(&self, other: &Self) -> [f64; 3] {
        let mut ratios: Vec<f64> = self.values.iter().zip(&other.values).map(|(own, other)| own / other).collect();
        [0.0, 0.5, 1.0].map(|part| quantile(&mut ratios, part))
    }

    /// Prints the ratio of this one to a plain loop.
    pub(crate) fn compare(&self, plain: &Self, what: &str, unit: &str, required: Required) {
        let [min, median, max] = self.ratios(plain);
        let (own, other) = (self.median(), plain.median());
        let note = format!("rounds {min:.2} to {max:.2}; {own:.1} to {other:.1} {unit}");
        line(&format!("{what}: {} / {}", self.name, plain.name), median, "ratio", required, &note);
    }
}

/// How many rounds there are.
pub(crate) fn round_count() -> usize {
    if is_quick() { 1 } else { 5 }
}

/// Lets all contenders run in turn.
pub(crate) fn in_turn<const N: usize>(mut run: [(&'static str, &mut dyn FnMut() -> f64); N]) -> [Contender; N] {
    let mut contenders = run.each_ref().map(|(name, _)| Contender { name, values: Vec::new() });
    for _ in 0..round_count() {
        for ((_, run), contender) in run.iter_mut().zip(&mut contenders) {
            contender.values.push(run());
        }
    }
    contenders
}
