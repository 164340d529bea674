package contract

import "time"

// Stream is a JetStream stream.
type Stream string

// The three streams.
const (
	// StreamJobs holds work that one consumer must do once; a job is gone when it is acknowledged.
	StreamJobs Stream = "SALLYPORT_JOBS"
	// StreamFacts holds what happened; every interested service has its own durable consumer.
	StreamFacts Stream = "SALLYPORT_FACTS"
	// StreamDead holds messages that nobody could use, with the reason in their headers.
	StreamDead Stream = "SALLYPORT_DEAD"
)

// StreamInfo says how a stream is kept.
type StreamInfo struct {
	Name      Stream
	Subjects  []string
	WorkQueue bool
	// MaxAge is beyond the life of any code; MaxBytes bounds the disk, and is reserved on it when the server starts.
	MaxAge   time.Duration
	MaxBytes int64
	// Duplicates is for how long a message published again under its id is stored once. Of facts it is beyond the life
	// of any code: an outcome is told when it is written, and again, to be sure, until its code is over.
	Duplicates time.Duration
}

// Streams lists every stream. Each is on disk, replicated three times on a cluster.
func Streams() []StreamInfo {
	return []StreamInfo{
		{StreamJobs, []string{"sallyport.job.>"}, true, 24 * time.Hour, 512 << 20, 2 * time.Minute},
		{StreamFacts, []string{"sallyport.fact.>"}, false, 7 * 24 * time.Hour, 2 << 30, 10 * time.Minute},
		{StreamDead, []string{"sallyport.dead.>"}, false, 30 * 24 * time.Hour, 512 << 20, 2 * time.Minute},
	}
}

// DeadSubject is where a dead letter of a service goes.
func DeadSubject(s Service) string { return "sallyport.dead." + string(s) }

// Every event. "Job" subjects are work for one service, "fact" subjects say what happened.
var (
	// ChallengeRequested makes sms-dispatcher send the challenge that [SMSOpen] wrote. Without that record nothing
	// is sent. The code is part of the record, sealed, and never travels on the bus.
	ChallengeRequested = Event[ChallengeRequest]{"sallyport.job.challenge.requested", StreamJobs, []Service{AuthGateway}, []Service{SMSDispatcher}, "Send the text message of this challenge."}

	// EnrolmentStarted: somebody began to enrol.
	EnrolmentStarted = Event[EnrolmentFact]{"sallyport.fact.enrolment.started", StreamFacts, []Service{AuthGateway}, []Service{Policy}, "Somebody began to enrol."}
	// EnrolmentConfirmed: a factor was activated. policy-svc records it, and the gateway ends the sessions of before, if
	// the request that brought the code went no further.
	EnrolmentConfirmed = Event[EnrolmentFact]{"sallyport.fact.enrolment.confirmed", StreamFacts, []Service{TOTP, SMSDispatcher}, []Service{Policy, AuthGateway}, "A factor was activated; it is recorded, and sessions of before end, even if the direct call was lost."}
	// EnrolmentReset: one person must enrol again. The owners of factors and sessions clean up what is older than
	// the reset.
	EnrolmentReset = Event[ResetFact]{"sallyport.fact.enrolment.reset", StreamFacts, []Service{Policy}, []Service{AuthGateway, Policy, TOTP, SMSDispatcher}, "One person must enrol again; what is older than the reset is cleaned up, sessions included."}
	// EnrolmentSkipped: a contact declined to enrol.
	EnrolmentSkipped = Event[PersonFact]{"sallyport.fact.enrolment.skipped", StreamFacts, []Service{Policy}, []Service{Policy}, "A contact declined to enrol."}
	// StandingChanged: what is remembered of a person is another now; the gateway asks [PolicyStanding] and mirrors it.
	StandingChanged = Event[StandingFact]{"sallyport.fact.standing.changed", StreamFacts, []Service{Policy}, []Service{AuthGateway}, "What is remembered of a person is another now; lists follow."}
	// EnrolmentEnabled: a contact wishes to enrol after all.
	EnrolmentEnabled = Event[PersonFact]{"sallyport.fact.enrolment.enabled", StreamFacts, []Service{Policy}, []Service{Policy}, "A contact wishes to enrol after all."}
	// SettingsChanged: a portal's settings are others now.
	SettingsChanged = Event[SettingsFact]{"sallyport.fact.settings.changed", StreamFacts, []Service{Policy}, []Service{Policy}, "A portal's settings were changed."}

	// ChallengeEnded: a challenge's message was sent, failed, or was no longer wanted.
	ChallengeEnded = Event[ChallengeFact]{"sallyport.fact.challenge.ended", StreamFacts, []Service{SMSDispatcher}, []Service{Policy}, "A challenge's message was sent, failed, expired or was superseded."}
	// FactorLocked: too many wrong codes.
	FactorLocked = Event[LockFact]{"sallyport.fact.factor.locked", StreamFacts, []Service{TOTP, SMSDispatcher}, []Service{Policy, AuthGateway}, "A factor was locked after wrong codes."}
	// FactorUnlocked: an admin or operator opened a locked factor. Its id is [UnlockedID].
	FactorUnlocked = Event[UnlockFact]{"sallyport.fact.factor.unlocked", StreamFacts, []Service{TOTP, SMSDispatcher}, []Service{Policy, AuthGateway}, "A locked factor was opened by an admin."}
	// AccountChanged: something about a portal, its accounts or sessions was changed. The audit log has it even if the
	// direct call was lost.
	AccountChanged = Event[AuditNote]{"sallyport.fact.account.changed", StreamFacts, []Service{AuthGateway}, []Service{Policy}, "A portal, an account or somebody's sessions were changed; audited even if the direct call was lost."}
	// TextsLimited: a limit on text messages was reached; told once per limit, subject and window.
	TextsLimited = Event[LimitFact]{"sallyport.fact.texts.limited", StreamFacts, []Service{SMSDispatcher}, []Service{Policy}, "A limit on text messages was reached."}
	// TextsStopped: a country is no longer texted for a portal, because too few codes come back from there.
	TextsStopped = Event[StopFact]{"sallyport.fact.texts.stopped", StreamFacts, []Service{SMSDispatcher}, []Service{Policy}, "A country is no longer texted, because too few codes come back."}
	// TextsResumed: an operator ended a stop.
	TextsResumed = Event[StopFact]{"sallyport.fact.texts.resumed", StreamFacts, []Service{SMSDispatcher}, []Service{Policy}, "An operator has a stopped country texted again."}
	// FactorRecovered: a recovery code was spent. policy-svc resets the person if the direct call was lost.
	FactorRecovered = Event[RecoveryFact]{"sallyport.fact.factor.recovered", StreamFacts, []Service{TOTP}, []Service{Policy}, "A recovery code was spent; the person is reset even if the direct call was lost."}
)

// ChallengeRequest is the payload of [ChallengeRequested].
type ChallengeRequest struct {
	Account
	Challenge string `json:"challenge"`
	// ExpiresAt is when the challenge's code expires: a job that waited longer is laid aside without a look at its
	// record, so that younger ones are not late because of it. Zero: not known.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// PersonFact is something that happened to a person.
type PersonFact struct {
	Account
	At time.Time `json:"at"`
}

// EnrolmentFact is the payload of [EnrolmentStarted] and [EnrolmentConfirmed].
type EnrolmentFact struct {
	Account
	FactorInfo
	Epoch Epoch `json:"epoch"`
}

// ResetFact is the payload of [EnrolmentReset].
type ResetFact struct {
	Account
	Reset  string     `json:"reset"`
	Actor  string     `json:"actor"`
	Cause  ResetCause `json:"cause"`
	Reason string     `json:"reason"`
	// Keep is the one session that need not end; see [ResetRequest].
	Keep string `json:"keep,omitempty"`
	// Epoch is the person's first epoch after the reset; enrolments of an older person generation are dead.
	Epoch Epoch     `json:"epoch"`
	At    time.Time `json:"at"`
	// OfOrganization is as in [ResetRequest].
	OfOrganization bool `json:"of_organization,omitempty"`
}

// StandingFact is the payload of [StandingChanged].
type StandingFact struct {
	Account
	// Revision is at least that of the change; only [StandingReply] tells the latest.
	Revision int64 `json:"revision"`
}

// UnlockFact is the payload of [FactorUnlocked].
type UnlockFact struct {
	Account
	Factor Factor    `json:"factor"`
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// ConfirmedID is the id of the [EnrolmentConfirmed] event of an enrolment, and of its audit entry.
func ConfirmedID(enrolment string) string { return "enrolment-" + enrolment }

// UnlockedID is the id of the [FactorUnlocked] event of an unlock, and of its audit entry.
func UnlockedID(f Factor, unlock string) string { return "unlock-" + string(f) + "-" + unlock }

// SettingsFact is the payload of [SettingsChanged].
type SettingsFact struct {
	Portal string    `json:"portal"`
	Actor  string    `json:"actor"`
	Before Settings  `json:"before"`
	After  Settings  `json:"after"`
	At     time.Time `json:"at"`
}

// Outcome is how a challenge ended, exactly once.
type Outcome string

// The four ends of a challenge.
const (
	OutcomeSent       Outcome = "sent"
	OutcomeFailed     Outcome = "failed"
	OutcomeExpired    Outcome = "expired"
	OutcomeSuperseded Outcome = "superseded"
)

// ChallengeFact is the payload of [ChallengeEnded].
type ChallengeFact struct {
	Account
	Challenge string        `json:"challenge"`
	Outcome   Outcome       `json:"outcome"`
	Reason    FailureReason `json:"reason,omitempty"`
	Attempts  int           `json:"attempts"`
	At        time.Time     `json:"at"`
}

// LockFact is the payload of [FactorLocked].
type LockFact struct {
	Account
	Factor   Factor `json:"factor"`
	Failures int    `json:"failures"`
	// Until is nil when the factor is disabled until recovery or reset.
	Until *time.Time `json:"until,omitempty"`
	At    time.Time  `json:"at"`
}

// Guard is a limit on text messages.
type Guard string

// The guards, in the order of a menu.
const (
	GuardPerson     Guard = "person"
	GuardNumber     Guard = "number"
	GuardPrefix     Guard = "prefix"
	GuardNetwork    Guard = "network"
	GuardCountry    Guard = "country"
	GuardPortal     Guard = "portal"
	GuardConversion Guard = "conversion"
	GuardBudget     Guard = "budget"
)

// Guards lists every guard.
func Guards() []Guard {
	return []Guard{GuardPerson, GuardNumber, GuardPrefix, GuardNetwork, GuardCountry, GuardPortal, GuardConversion, GuardBudget}
}

// LimitFact is the payload of [TextsLimited].
type LimitFact struct {
	// Account is whose request met the limit first.
	Account
	Guard Guard `json:"guard"`
	// Subject is what the limit is about, as an admin may see it: a masked number, a network, a country; empty for a
	// person, a portal and the budget.
	Subject string `json:"subject,omitempty"`
	// Limit is how many unanswered texts (of the budget: texts) are allowed in WindowSeconds.
	Limit         int `json:"limit"`
	WindowSeconds int `json:"window_seconds"`
	// Recorded is true where the guard only records: the text went out.
	Recorded bool      `json:"recorded,omitempty"`
	At       time.Time `json:"at"`
}

// StopFact is the payload of [TextsStopped] and [TextsResumed].
type StopFact struct {
	Portal  string `json:"portal"`
	Country string `json:"country"`
	// Sent and Answered are the counts that led to the stop.
	Sent     int `json:"sent"`
	Answered int `json:"answered"`
	// Until is when texts are sent again by themselves ([TextsStopped] only).
	Until *time.Time `json:"until,omitempty"`
	// Actor and Reason say who ended the stop, and why ([TextsResumed] only).
	Actor    string    `json:"actor,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Recorded bool      `json:"recorded,omitempty"`
	At       time.Time `json:"at"`
}

// RecoveryFact is the payload of [FactorRecovered].
type RecoveryFact struct {
	Account
	Recovery  string    `json:"recovery"`
	CodesLeft int       `json:"codes_left"`
	At        time.Time `json:"at"`
}
