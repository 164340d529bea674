package policy

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"sallyport/pkg/contract"
)

// This file says how what happened is written in the audit log: the same by a call, before it is acknowledged, and by
// the fact that follows it.

func settingsID(portal string, version int64) string {
	return fmt.Sprintf("settings-%s-%d", portal, version)
}

func settingsNote(f contract.SettingsFact) contract.AuditNote {
	return contract.AuditNote{Portal: f.Portal, Actor: f.Actor, At: f.At, Action: contract.AuditSettingsChanged, Detail: detail(
		"version", strconv.FormatInt(f.After.Version, 10),
		"internal_before", string(f.Before.Internal.Mode), "internal_after", string(f.After.Internal.Mode),
		"organizations_before", string(f.Before.Organizations.Mode), "organizations_after", string(f.After.Organizations.Mode),
		"opt_out_before", strconv.FormatBool(f.Before.Organizations.AllowOptOut), "opt_out_after", strconv.FormatBool(f.After.Organizations.AllowOptOut),
	)}
}

func enrolmentNote(a contract.AuditAction, f contract.EnrolmentFact) contract.AuditNote {
	return contract.AuditNote{
		Portal: f.Portal, User: f.User, Actor: f.User, At: f.Since, Action: a,
		Detail: detail("factor", string(f.Factor), "enrolment", f.Enrolment),
	}
}

func resetID(who contract.Account, reset string) string {
	return fmt.Sprintf("reset-%s-%s-%s", who.Portal, who.User, reset)
}

func resetNote(f contract.ResetFact) contract.AuditNote {
	a := contract.AuditEnrolmentReset
	if f.Cause == contract.ResetByRemoval {
		a = contract.AuditEnrolmentRemoved
	}
	return contract.AuditNote{
		Portal: f.Portal, User: f.User, Actor: f.Actor, Reason: f.Reason, At: f.At, Action: a,
		Detail: detail("reset", f.Reset, "cause", string(f.Cause), "generation", strconv.FormatInt(f.Epoch.Person, 10)),
	}
}

func skipID(who contract.Account, e contract.Epoch, optOut int64) string {
	return fmt.Sprintf("skip-%s-%s-%d-%d-%d", who.Portal, who.User, e.Population, e.Person, optOut)
}

// declineID is the id of a skip by which a contact thought better of their wish.
func declineID(who contract.Account, wish string) string {
	return fmt.Sprintf("skip-%s-%s-wish-%s", who.Portal, who.User, wish)
}

func enableID(who contract.Account, wish string) string {
	return fmt.Sprintf("enable-%s-%s-%s", who.Portal, who.User, wish)
}

// personNote is what a person did to themselves.
func personNote(a contract.AuditAction, f contract.PersonFact) contract.AuditNote {
	return contract.AuditNote{Portal: f.Portal, User: f.User, Actor: f.User, At: f.At, Action: a}
}

func challengeNote(f contract.ChallengeFact) contract.AuditNote {
	return contract.AuditNote{Portal: f.Portal, User: f.User, At: f.At, Action: contract.AuditChallengeEnded, Detail: detail(
		"challenge", f.Challenge, "outcome", string(f.Outcome), "reason", string(f.Reason), "attempts", strconv.Itoa(f.Attempts),
	)}
}

func lockNote(f contract.LockFact) contract.AuditNote {
	until := "disabled"
	if f.Until != nil {
		until = f.Until.UTC().Format(time.RFC3339)
	}
	return contract.AuditNote{Portal: f.Portal, User: f.User, At: f.At, Action: contract.AuditFactorLocked, Detail: detail(
		"factor", string(f.Factor), "failures", strconv.Itoa(f.Failures), "until", until,
	)}
}

func unlockNote(f contract.UnlockFact) contract.AuditNote {
	return contract.AuditNote{
		Portal: f.Portal, User: f.User, Actor: f.Actor, Reason: f.Reason, At: f.At, Action: contract.AuditFactorUnlocked,
		Detail: detail("factor", string(f.Factor)),
	}
}

func recoveryNote(f contract.RecoveryFact) contract.AuditNote {
	return contract.AuditNote{Portal: f.Portal, User: f.User, Actor: f.User, At: f.At, Action: contract.AuditFactorRecovered, Detail: detail(
		"recovery", f.Recovery, "codes_left", strconv.Itoa(f.CodesLeft),
	)}
}

func limitNote(f contract.LimitFact) contract.AuditNote {
	return contract.AuditNote{Portal: f.Portal, User: f.User, At: f.At, Action: contract.AuditTextsLimited, Detail: detail(
		"guard", string(f.Guard), "subject", f.Subject, "limit", strconv.Itoa(f.Limit),
		"window", (time.Duration(f.WindowSeconds) * time.Second).String(), "recorded", onlyTrue(f.Recorded),
	)}
}

// stopNote is for a stop, and for its end by an operator.
func stopNote(a contract.AuditAction) func(contract.StopFact) contract.AuditNote {
	return func(f contract.StopFact) contract.AuditNote {
		until := ""
		if f.Until != nil {
			until = f.Until.UTC().Format(time.RFC3339)
		}
		return contract.AuditNote{Portal: f.Portal, Actor: f.Actor, Reason: f.Reason, At: f.At, Action: a, Detail: detail(
			"country", f.Country, "sent", strconv.Itoa(f.Sent), "answered", strconv.Itoa(f.Answered), "until", until, "recorded", onlyTrue(f.Recorded),
		)}
	}
}

// onlyTrue says what is true, and nothing of what is not.
func onlyTrue(b bool) string {
	if b {
		return "true"
	}
	return ""
}

// detail makes a map of names and values, in turn; what is empty is left out.
func detail(pairs ...string) map[string]string {
	m := make(map[string]string, len(pairs)/2)
	for pair := range slices.Chunk(pairs, 2) {
		if name, value := pair[0], pair[len(pair)-1]; value != "" {
			m[name] = value
		}
	}
	return m
}
