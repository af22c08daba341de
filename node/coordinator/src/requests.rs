//! From requests to decisions, and from refusals to what members are told.

use quorate_protocol::{ApiError, ErrorCode, GroupRequest, GroupResponse};

use crate::{CoordinatorState, Refusal, Topics};

impl Refusal {
    /// What programs are told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownMember { .. } => ErrorCode::UnknownMember,
            Self::Fenced { .. } | Self::InstanceTaken { .. } => ErrorCode::MemberFenced,
            Self::NotEmpty { .. } => ErrorCode::GroupNotEmpty,
            Self::UnknownGroup(_) => ErrorCode::UnknownGroup,
            Self::LimitReached(_) => ErrorCode::LimitReached,
            Self::Invalid(_) => ErrorCode::InvalidRequest,
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}

impl CoordinatorState {
    /// Decides a request. A heartbeat is answered at once, whatever it says of waiting.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn handle(
        &mut self,
        request: &GroupRequest,
        topics: &impl Topics,
        now_ms: i64,
    ) -> Result<GroupResponse, Refusal> {
        match request {
            GroupRequest::Heartbeat(heartbeat) => {
                self.heartbeat(heartbeat, topics)?;
                let (group, member) = (&heartbeat.group, heartbeat.member);
                let gone = || Refusal::UnknownMember { group: group.clone(), member };
                self.assignment(group, member).map(GroupResponse::Assignment).ok_or_else(gone)
            }
            GroupRequest::Leave { group, member } => {
                self.remove(group, *member, topics);
                Ok(GroupResponse::Done)
            }
            GroupRequest::Commit { group, committer, offsets } => {
                self.commit(group, *committer, offsets, now_ms).map(GroupResponse::Committed)
            }
            GroupRequest::Committed { group, partitions } => {
                Ok(GroupResponse::Committed(self.committed(group, partitions.as_deref())))
            }
            GroupRequest::Describe { group } => self.describe(group).map(GroupResponse::Group),
            GroupRequest::List => Ok(GroupResponse::Groups(self.list())),
            GroupRequest::Delete { group } => self.delete(group).map(|()| GroupResponse::Done),
        }
    }
}
