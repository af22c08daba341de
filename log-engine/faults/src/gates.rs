//! Gates at which operations of a kind wait while the test holds them closed.

use std::collections::BTreeMap;

use crate::filter::OperationKind;

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    waiting: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Gates(BTreeMap<OperationKind, Gate>);

impl Gates {
    pub(crate) fn close(&mut self, kind: OperationKind) {
        self.0.entry(kind).or_default().closed = true;
    }

    pub(crate) fn open(&mut self, kind: OperationKind) {
        self.0.entry(kind).or_default().closed = false;
    }

    pub(crate) fn open_all(&mut self) {
        self.0.values_mut().for_each(|gate| gate.closed = false);
    }

    pub(crate) fn is_closed(&self, kind: OperationKind) -> bool {
        self.0.get(&kind).is_some_and(|gate| gate.closed)
    }

    pub(crate) fn waiting(&self, kind: OperationKind) -> usize {
        self.0.get(&kind).map_or(0, |gate| gate.waiting)
    }

    pub(crate) fn arrive(&mut self, kind: OperationKind) {
        self.0.entry(kind).or_default().waiting += 1;
    }

    pub(crate) fn leave(&mut self, kind: OperationKind) {
        self.0.entry(kind).or_default().waiting -= 1;
    }
}
