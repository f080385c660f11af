//! Every server function's path: an open page survives a deploy as long as none of these changes.

use crate::account::api::{
    Account, AccountBranches, AccountQuota, AccountRepositories, CreateToken, EndAllSessions, EndSession, ListPublicKeys, ListSessions, ListTokens,
    RevokeToken, SetHandle, SetTheme, SshGateway,
};
use crate::hosts::api::{
    AddHost, AdoptOrphan, ChangeHost, GetHost, ListHostPods, ListHosts, ListOrphans, RejoinHost, RemoveOrphan, RetireHostKey, SetAside, TrustHostKey,
};
use crate::pods::api::{
    ApproveSetup, CheckPod, CreatePod, EndTerminal, GetPod, ListPods, ListTerminals, PodEvents, PodLiveNow, PodMonthUse, PodUsualTimes,
    RestartProcess, RetrySetup, SuggestPodName, UpdatePod, ViewPod, WishPod,
};
use crate::secrets::api::{
    CheckImport, CreateSecret, DeleteSecret, ImportSecrets, RenameSecret, ReplaceSecret, RestartOutdated, SecretsOfPod, ViewSecrets,
};
use crate::teams::api::{
    AcceptInvitation, ChangeMember, CreateTeam, DeleteTeam, GetInvitation, Invite, ListMembers, ListTeams, RemoveMember, RenameTeam,
    ResendInvitation, RevokeInvitation, TakeOverPods, TeamActivity, ViewTeam,
};
use leptos::server_fn::ServerFn;

/// The paths, in the order of their nouns.
pub fn endpoints() -> Vec<&'static str> {
    vec![
        Account::PATH,
        AccountQuota::PATH,
        ListTokens::PATH,
        CreateToken::PATH,
        RevokeToken::PATH,
        ListSessions::PATH,
        EndSession::PATH,
        EndAllSessions::PATH,
        AccountRepositories::PATH,
        AccountBranches::PATH,
        ListPublicKeys::PATH,
        SshGateway::PATH,
        SetHandle::PATH,
        SetTheme::PATH,
        ListTeams::PATH,
        ViewTeam::PATH,
        CreateTeam::PATH,
        RenameTeam::PATH,
        DeleteTeam::PATH,
        ListMembers::PATH,
        ChangeMember::PATH,
        RemoveMember::PATH,
        TakeOverPods::PATH,
        Invite::PATH,
        ResendInvitation::PATH,
        RevokeInvitation::PATH,
        TeamActivity::PATH,
        GetInvitation::PATH,
        AcceptInvitation::PATH,
        ListPods::PATH,
        ViewPod::PATH,
        GetPod::PATH,
        CheckPod::PATH,
        SuggestPodName::PATH,
        CreatePod::PATH,
        UpdatePod::PATH,
        WishPod::PATH,
        ApproveSetup::PATH,
        RetrySetup::PATH,
        PodEvents::PATH,
        PodUsualTimes::PATH,
        PodMonthUse::PATH,
        PodLiveNow::PATH,
        RestartProcess::PATH,
        ListTerminals::PATH,
        EndTerminal::PATH,
        ViewSecrets::PATH,
        CreateSecret::PATH,
        ReplaceSecret::PATH,
        RenameSecret::PATH,
        DeleteSecret::PATH,
        SecretsOfPod::PATH,
        CheckImport::PATH,
        ImportSecrets::PATH,
        RestartOutdated::PATH,
        ListHosts::PATH,
        GetHost::PATH,
        ListHostPods::PATH,
        AddHost::PATH,
        ChangeHost::PATH,
        ListOrphans::PATH,
        AdoptOrphan::PATH,
        RemoveOrphan::PATH,
        SetAside::PATH,
        RejoinHost::PATH,
        RetireHostKey::PATH,
        TrustHostKey::PATH,
    ]
}
