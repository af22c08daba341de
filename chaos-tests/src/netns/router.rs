//! The router between the namespaces, and its rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

use super::run;
use crate::proxy::{CLIENTS, Link, Links, Rule};

const ROUTER: &str = "router";
/// Before the rules the kernel begins with.
const PRIORITY: u32 = 100;
/// The third byte of an address is the place's number.
const PLACES_MAX: u8 = 250;

/// Where a node is: its namespace. Place 0 is that of the clients, in which this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u8);

impl Place {
    const CLIENTS: Self = Self(0);

    /// Its address.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 83, self.0, 2)
    }

    /// The file of its namespace.
    #[must_use]
    pub fn namespace(self) -> String {
        format!("/run/netns/n{}", self.0)
    }

    /// What the packets from one place to another are matched by.
    fn rule_to(self, to: Self) -> String {
        format!("priority {PRIORITY} iif r{} to {}/32 blackhole", self.0, to.address())
    }
}

/// Joins the places, and drops packets between some of them.
#[derive(Debug)]
pub struct Router {
    places: u8,
    /// By the number of a node.
    nodes: BTreeMap<u64, Place>,
    /// From which place to which all packets are dropped.
    cut: BTreeSet<(Place, Place)>,
}

impl Router {
    /// Makes it, with a way to this process.
    ///
    /// # Errors
    /// If this process is not in namespaces of its own, or the system does not let it.
    pub fn start() -> Result<Self, String> {
        if !super::is_inside() {
            return Err("this process is in no namespaces of its own".to_owned());
        }
        ip(None, &["link set lo up".to_owned(), format!("netns add {ROUTER}")])?;
        let forward = ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"];
        run(Command::new("nsenter").arg(format!("--net=/run/netns/{ROUTER}")), &forward)?;
        let router = Self { places: 0, nodes: BTreeMap::new(), cut: BTreeSet::new() };
        let clients = Place::CLIENTS;
        ip(None, &[format!("link add e0 type veth peer name r0 netns {ROUTER}")])?;
        connect(None, clients)?;
        Ok(router)
    }

    /// One more place for a node.
    ///
    /// # Errors
    /// If there are too many, or the system does not let it.
    pub fn add(&mut self) -> Result<Place, String> {
        if self.places == PLACES_MAX {
            return Err(format!("there are {PLACES_MAX} places already"));
        }
        self.places += 1;
        let place = Place(self.places);
        let (number, name) = (place.0, format!("n{}", place.0));
        ip(
            None,
            &[
                format!("netns add {name}"),
                format!("link add e{number} netns {name} type veth peer name r{number} netns {ROUTER}"),
            ],
        )?;
        connect(Some(&name), place)?;
        Ok(place)
    }

    /// From now on this node is there, and none that was before.
    pub fn put(&mut self, node: u64, place: Place) {
        self.nodes.retain(|_, other| *other != place);
        self.nodes.insert(node, place);
    }

    /// Drops all packets where links say so, and no others.
    ///
    /// # Errors
    /// If the system does not let it.
    pub fn follow(&mut self, links: &Links) -> Result<(), String> {
        let all: Vec<(u64, Place)> =
            self.nodes.iter().map(|(node, place)| (*node, *place)).chain([(CLIENTS, Place::CLIENTS)]).collect();
        let is_cut = |from: u64, to: u64| matches!(links.rule(Link { from, to }), Rule::Drop | Rule::Hold);
        let mut wanted = BTreeSet::new();
        for (from, from_place) in &all {
            let to = all.iter().filter(|(to, _)| to != from && is_cut(*from, *to));
            wanted.extend(to.map(|(_, to_place)| (*from_place, *to_place)));
        }
        // One after the other, so that it is known what was done if one fails.
        for cut @ (from, to) in self.cut.clone().difference(&wanted) {
            ip(Some(ROUTER), &[format!("rule del {}", from.rule_to(*to))])?;
            self.cut.remove(cut);
        }
        for cut @ (from, to) in wanted.difference(&self.cut.clone()) {
            ip(Some(ROUTER), &[format!("rule add {}", from.rule_to(*to))])?;
            self.cut.insert(*cut);
        }
        Ok(())
    }
}

/// Gives both ends of a place's link their addresses.
fn connect(namespace: Option<&str>, place: Place) -> Result<(), String> {
    let number = place.0;
    let ends = [("r", 1, Some(ROUTER)), ("e", 2, namespace)];
    for (name, host, namespace) in ends {
        let device = format!("{name}{number}");
        ip(
            namespace,
            &[
                "link set lo up".to_owned(),
                format!("addr add 10.83.{number}.{host}/30 dev {device}"),
                format!("link set {device} up"),
            ],
        )?;
    }
    ip(namespace, &[format!("route add default via 10.83.{number}.1")])
}

/// Runs commands of `ip`, one after the other, in a namespace or in this process's own.
fn ip(namespace: Option<&str>, commands: &[String]) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(namespace.iter().flat_map(|name| ["-n", name])).args(["-batch", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let done = (|| {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all((commands.join("\n") + "\n").as_bytes())?;
        }
        child.wait_with_output()
    })();
    let output = done.map_err(|error: std::io::Error| format!("cannot run ip: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {}", commands.join("; "), said.lines().next().unwrap_or_default())),
    }
}
