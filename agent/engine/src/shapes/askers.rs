//! The routes whose requests asked for a shape, within a slot of its window or over several.
//!
//! Bounded: what finds no place is added up. So where there is such a rest, the figures of a route are a lower
//! bound: in another slot it may have been part of the rest.

use std::sync::Arc;

use crate::output::{RouteName, ShapeRoute};

/// Routes kept apart.
const LIMIT: usize = 16;

/// What requests of a route, or of several, asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) requests: u64,
    pub(crate) repeated: u64,
    pub(crate) count: u64,
    pub(crate) total_ns: u64,
}

impl Sums {
    fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.repeated = self.repeated.saturating_add(more.repeated);
        self.count = self.count.saturating_add(more.count);
        self.total_ns = self.total_ns.saturating_add(more.total_ns);
    }
}

/// Routes that ask, each once.
#[derive(Debug, Default)]
pub(crate) struct Askers {
    routes: Vec<(Arc<RouteName>, Sums)>,
    rest: Sums,
}

impl Askers {
    /// Adds what requests of a route asked for; those without a route are in the rest.
    pub(crate) fn add(&mut self, route: Option<&Arc<RouteName>>, more: Sums) {
        let Some(route) = route else {
            return self.rest.add(more);
        };
        if let Some(sums) = self.of(route) {
            sums.add(more);
        } else if self.routes.len() < LIMIT {
            self.routes.push((Arc::clone(route), more));
        } else {
            self.rest.add(more);
        }
    }

    fn of(&mut self, route: &Arc<RouteName>) -> Option<&mut Sums> {
        let known = self.routes.iter_mut().find(|(name, _)| name == route);
        known.map(|(_, sums)| sums)
    }

    /// Adds those of another slot; of all routes, those with most time are kept apart.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.rest.add(other.rest);
        for (route, more) in &other.routes {
            match self.of(route) {
                Some(sums) => sums.add(*more),
                None => self.routes.push((Arc::clone(route), *more)),
            }
        }
        if self.routes.len() > LIMIT {
            self.routes
                .sort_by_key(|(_, sums)| std::cmp::Reverse(sums.total_ns));
            for (_, sums) in self.routes.drain(LIMIT..) {
                self.rest.add(sums);
            }
        }
    }

    /// Most time first, the rest last.
    pub(crate) fn by_time(&self) -> Vec<ShapeRoute> {
        let other = RouteName::other();
        let mut rest = self.rest;
        let mut routes = Vec::with_capacity(self.routes.len() + 1);
        for (name, sums) in &self.routes {
            // The overflow entry of the routes is such a rest, too.
            if **name == other {
                rest.add(*sums);
            } else {
                routes.push(told(Arc::clone(name), *sums));
            }
        }
        routes.sort_by(|a, b| {
            b.total_ns
                .cmp(&a.total_ns)
                .then_with(|| a.name.route.cmp(&b.name.route))
                .then_with(|| a.name.method.cmp(&b.name.method))
        });
        if rest.count > 0 {
            routes.push(told(Arc::new(other), rest));
        }
        routes
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }
}

fn told(name: Arc<RouteName>, sums: Sums) -> ShapeRoute {
    ShapeRoute {
        name,
        requests: sums.requests,
        repeated: sums.repeated,
        count: sums.count,
        total_ns: sums.total_ns,
    }
}
