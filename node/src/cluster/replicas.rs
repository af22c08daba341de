//! The partition replicas on this node.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use quorate_cluster_config::{GroupId, NodeId, PartitionId, ReplicaId};
use quorate_log_engine::OpenError;
use quorate_protocol::ReplicaRole;
use quorate_raft::{
    Environment, Group, GroupOpenError, KvError, MetadataGroup, PartitionGroup, ReplicaPhase, ReplicaRecord,
    ReplicaRecords, Role, go_on_alone,
};

use crate::peers::ReplicaStatus;

/// A replica of any kind of group.
#[derive(Clone, Debug)]
pub(crate) enum AnyGroup {
    Metadata(Arc<MetadataGroup>),
    Partition(Arc<PartitionGroup>),
}

impl AnyGroup {
    pub(crate) fn group(&self) -> &Group {
        match self {
            Self::Metadata(group) => group.group(),
            Self::Partition(group) => group.group(),
        }
    }
}

/// A replica this node holds.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// Its log is being opened.
    Starting,
    /// It runs.
    Running(Arc<PartitionGroup>),
    /// It was refused at start, and its files were left as they are.
    Refused(Refusal),
}

/// Why a replica is not started.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    /// Whether that is for good: what its log holds is in doubt.
    in_doubt: bool,
}

impl From<&GroupOpenError> for Refusal {
    fn from(error: &GroupOpenError) -> Self {
        // What another build wrote, or what cannot be read just now, says nothing against the log.
        let in_doubt = match error {
            GroupOpenError::Log(OpenError::Io { .. } | OpenError::Format { .. }) | GroupOpenError::Store(_) => false,
            GroupOpenError::Log(_) | GroupOpenError::Inconsistent { .. } => true,
            GroupOpenError::Raft { .. } => false,
        };
        Self { reason: error.to_string(), in_doubt }
    }
}

/// All partition replicas of this node, by id.
#[derive(Debug)]
pub(crate) struct Replicas {
    environment: Environment,
    records: ReplicaRecords,
    slots: RwLock<BTreeMap<ReplicaId, (PartitionId, Slot)>>,
    started: AtomicBool,
    served: Mutex<Vec<ReplicaId>>,
    /// The high watermarks at the last tick and at the one before.
    settled: Mutex<BTreeMap<ReplicaId, [u64; 2]>>,
}

impl Replicas {
    pub(crate) fn new(environment: Environment) -> Self {
        let records = ReplicaRecords::new(environment.store.clone());
        Self {
            environment,
            records,
            slots: RwLock::default(),
            started: AtomicBool::new(false),
            served: Mutex::default(),
            settled: Mutex::default(),
        }
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    pub(crate) fn records(&self) -> &ReplicaRecords {
        &self.records
    }

    pub(crate) fn slot(&self, replica: ReplicaId) -> Option<Slot> {
        self.read().get(&replica).map(|(_, slot)| slot.clone())
    }

    pub(crate) fn running(&self, replica: ReplicaId) -> Option<Arc<PartitionGroup>> {
        match self.slot(replica)? {
            Slot::Running(group) => Some(group),
            Slot::Starting | Slot::Refused(_) => None,
        }
    }

    /// The partition of a replica.
    pub(crate) fn partition_of(&self, replica: ReplicaId) -> Option<PartitionId> {
        self.read().get(&replica).map(|(partition, _)| *partition)
    }

    /// Notes that all replicas that were here when the node was started are opened or refused.
    pub(crate) fn set_started(&self) {
        self.started.store(true, Relaxed);
    }

    pub(crate) fn all_started(&self) -> bool {
        self.started.load(Relaxed)
    }

    /// Whether a replica of one of these partitions is being opened.
    pub(crate) fn opens_any(&self, partitions: &BTreeSet<PartitionId>) -> bool {
        self.read().values().any(|(of, slot)| matches!(slot, Slot::Starting) && partitions.contains(of))
    }

    /// How many are still being opened.
    pub(crate) fn starting(&self) -> usize {
        self.read().values().filter(|(_, slot)| matches!(slot, Slot::Starting)).count()
    }

    /// The replicas whose logs are in doubt.
    pub(crate) fn in_doubt(&self) -> Vec<(PartitionId, ReplicaId)> {
        let slots = self.read();
        let doubted = slots.iter().filter(|(_, (_, slot))| matches!(slot, Slot::Refused(refusal) if refusal.in_doubt));
        doubted.map(|(replica, (partition, _))| (*partition, *replica)).collect()
    }

    /// Whether a replica of this node leads a partition.
    pub(crate) fn leads(&self, partition: PartitionId) -> bool {
        let slots = self.read();
        let mut of_partition = slots.values().filter(|(of, _)| *of == partition);
        of_partition
            .any(|(_, slot)| matches!(slot, Slot::Running(group) if group.group().status().role == Role::Leader))
    }

    /// All running replicas.
    pub(crate) fn all_running(&self) -> Vec<Arc<PartitionGroup>> {
        let running = |(_, slot): &(PartitionId, Slot)| match slot {
            Slot::Running(group) => Some(group.clone()),
            Slot::Starting | Slot::Refused(_) => None,
        };
        self.read().values().filter_map(running).collect()
    }

    /// Opens a replica as its creation record says, or refuses it.
    pub(crate) async fn start(&self, record: &ReplicaRecord) -> Slot {
        let GroupId::Partition(partition) = record.group else {
            let reason = "it is not one of a partition".to_owned();
            return Slot::Refused(Refusal { reason, in_doubt: false });
        };
        self.write().insert(record.replica, (partition, Slot::Starting));
        let slot = match PartitionGroup::open(&self.environment, record).await {
            Ok(group) => Slot::Running(Arc::new(group)),
            Err(error) => {
                tracing::error!(replica = %record.replica, %partition, %error, "a replica is not started; its files are left as they are");
                Slot::Refused(Refusal::from(&error))
            }
        };
        let unwanted = {
            let mut slots = self.write();
            match slots.get_mut(&record.replica) {
                Some((_, current)) => {
                    *current = slot.clone();
                    false
                }
                // It was deleted meanwhile.
                None => true,
            }
        };
        if unwanted && let Slot::Running(group) = &slot {
            group.group().shutdown().await;
        }
        slot
    }

    /// Starts a replica again that has stopped for want of room on the disk; tells how that went.
    pub(crate) async fn revive(&self, group: Arc<PartitionGroup>) {
        let replica = group.group().replica();
        // Nobody may get hold of it any more while its log is opened again.
        self.write().entry(replica).and_modify(|(_, slot)| *slot = Slot::Starting);
        if !group.group().shutdown().await {
            // Its log is not nobody's yet: it is tried again.
            self.write().entry(replica).and_modify(|(_, slot)| *slot = Slot::Running(group.clone()));
            return;
        }
        drop(group);
        let (records, id) = (self.records.clone(), replica);
        let record = tokio::task::spawn_blocking(move || records.get(id)).await;
        match record {
            Ok(Ok(Some(record))) => {
                tracing::info!(%replica, "there is room again: a replica that had none is started again");
                self.start(&record).await;
            }
            other => tracing::error!(%replica, ?other, "the creation record of a stopped replica cannot be read"),
        }
    }

    /// Stops a replica so that its files are nobody's any more.
    async fn stop(&self, replica: ReplicaId) -> Result<(), String> {
        match self.slot(replica) {
            Some(Slot::Starting) => return Err("it is just being opened".to_owned()),
            Some(Slot::Running(group)) if !group.group().shutdown().await => {
                return Err("its disk does not take what is still to be written".to_owned());
            }
            Some(Slot::Running(_) | Slot::Refused(_)) | None => {}
        }
        self.write().remove(&replica);
        Ok(())
    }

    /// The replicas with tombstones of which nothing is here any more, nor ever will be.
    pub(crate) fn served(&self) -> Vec<ReplicaId> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_served(&self, replicas: Vec<ReplicaId>) {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = replicas;
    }

    /// Shows why a replica that is to be here is not.
    pub(crate) fn refuse(&self, replica: ReplicaId, partition: PartitionId, reason: String) {
        self.write().insert(replica, (partition, Slot::Refused(Refusal { reason, in_doubt: false })));
    }

    /// Stops a replica and deletes all it has. Only for replicas with a committed tombstone.
    pub(crate) async fn delete(&self, record: &ReplicaRecord) -> Result<(), String> {
        self.stop(record.replica).await?;
        let (environment, records, record) = (self.environment.clone(), self.records.clone(), record.clone());
        let delete = move || {
            let directory = environment.replica_directory(record.log);
            if environment.vfs.directory_exists(&directory) {
                environment.vfs.remove_directory(&directory).map_err(|error| error.to_string())?;
            }
            records.remove(record.replica).map_err(|error| error.to_string())
        };
        tokio::task::spawn_blocking(delete).await.map_err(|error| error.to_string())?
    }

    /// Stops a replica for good and leaves its files where they are. Only for replicas with a committed tombstone.
    pub(crate) async fn set_aside(&self, record: &ReplicaRecord) -> Result<(), String> {
        self.stop(record.replica).await?;
        let (records, directory) = (self.records.clone(), self.environment.replica_directory(record.log));
        let aside = ReplicaRecord { phase: ReplicaPhase::SetAside, ..record.clone() };
        tokio::task::spawn_blocking(move || records.put(&aside))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        tracing::warn!(replica = %record.replica, group = %record.group, directory = %directory.display(), "a replica was put aside: its files stay, nothing reads them; delete the directory when they are not needed");
        Ok(())
    }

    /// Has a replica of this node be another one that is the only one of its partition, and starts that.
    pub(crate) async fn go_on_alone(&self, known: &ReplicaRecord, new: (ReplicaId, NodeId)) -> Result<(), String> {
        self.stop(known.replica).await?;
        let (environment, known) = (self.environment.clone(), known.clone());
        let renamed = tokio::task::spawn_blocking(move || go_on_alone(&environment, &known, new))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        self.start(&renamed).await;
        Ok(())
    }

    /// Work of once a second for all replicas, and one flush for what it wrote.
    pub(crate) fn tick(&self, metadata: &MetadataGroup) -> Result<(), KvError> {
        let mut written = metadata.tick()?;
        let mut settled = BTreeMap::new();
        for group in self.all_running() {
            written |= group.tick()?;
            settled.insert(group.group().replica(), [group.high_watermark(), 0]);
        }
        let mut known = self.settled();
        for (replica, offsets) in &mut settled {
            offsets[1] = known.get(replica).map_or(0, |[last, _]| *last);
        }
        *known = settled;
        drop(known);
        if written { self.environment.store.flush() } else { Ok(()) }
    }

    pub(crate) fn statuses(&self) -> Vec<ReplicaStatus> {
        let slots = self.read();
        let settled = self.settled();
        // Both are in the order of the replicas.
        let mut known = settled.iter().peekable();
        let with_settled = |(replica, (partition, slot)): (&ReplicaId, &(PartitionId, Slot))| {
            while known.next_if(|(of, _)| *of < replica).is_some() {}
            let [_, before] = known.next_if(|(of, _)| *of == replica).map_or([0, 0], |(_, offsets)| *offsets);
            ReplicaStatus { settled_offset: before, ..status(*replica, *partition, slot) }
        };
        slots.iter().map(with_settled).collect()
    }

    fn settled(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, [u64; 2]>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<ReplicaId, (PartitionId, Slot)>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<ReplicaId, (PartitionId, Slot)>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status(replica: ReplicaId, partition: PartitionId, slot: &Slot) -> ReplicaStatus {
    let idle = ReplicaStatus {
        replica,
        partition,
        role: ReplicaRole::Unknown,
        term: 0,
        leader: None,
        high_watermark: 0,
        log_end_offset: 0,
        settled_offset: 0,
        log_start_offset: 0,
        log_bytes: 0,
        failure: None,
        in_doubt: false,
    };
    match slot {
        Slot::Starting => idle,
        Slot::Refused(Refusal { reason, in_doubt }) => {
            ReplicaStatus { role: ReplicaRole::Failed, failure: Some(reason.clone()), in_doubt: *in_doubt, ..idle }
        }
        Slot::Running(group) => {
            let status = group.group().status();
            let role = match status.role {
                Role::Leader => ReplicaRole::Leader,
                Role::Follower => ReplicaRole::Follower,
                Role::Learner => ReplicaRole::Learner,
                Role::Candidate => ReplicaRole::Candidate,
                Role::Stopped => ReplicaRole::Failed,
            };
            ReplicaStatus {
                role,
                term: status.term,
                leader: status.leader_node,
                high_watermark: group.high_watermark(),
                log_end_offset: group.log_end_offset(),
                log_start_offset: group.log_start_offset(),
                log_bytes: group.log_bytes(),
                failure: status.failure.or(status.damage),
                ..idle
            }
        }
    }
}
