package contract

import "time"

// Every call. The gateway asks, the others answer; a service never calls another.
var (
	// PolicyDecide: what must this person do now? Pure in settings, standing and the facts in the request.
	PolicyDecide = Call[DecideRequest, Decision]{"sallyport.call.policy.decide", Policy, "What must this person do to sign in: nothing, enrol, or answer a challenge?"}
	// PolicySkip remembers that a contact declined enrolment. Refused (forbidden) where policy does not allow it.
	PolicySkip = Call[SkipRequest, Decision]{"sallyport.call.policy.skip", Policy, "Remember that this contact declined to enrol."}
	// PolicyRecord makes a confirmed enrolment count. Recorded once, by enrolment id.
	PolicyRecord = Call[RecordRequest, Empty]{"sallyport.call.policy.record", Policy, "Make a confirmed enrolment count from now on."}
	// PolicyReset raises one person's generation: all their enrolments and their skip are dead at once.
	PolicyReset = Call[ResetRequest, Empty]{"sallyport.call.policy.reset", Policy, "Make one person enrol again; their old enrolments and skip are dead."}
	// PolicySettings reads a portal's settings.
	PolicySettings = Call[SettingsRequest, Settings]{"sallyport.call.policy.settings", Policy, "Read a portal's second-factor settings."}
	// PolicyChange replaces a portal's settings if their version is still the one given; otherwise conflict.
	PolicyChange = Call[ChangeRequest, Settings]{"sallyport.call.policy.change", Policy, "Replace a portal's second-factor settings, if nobody else did meanwhile."}

	// PolicyRules tells which enrolments and skips count now, and which would under other settings: what a list of
	// people and the preview of a change are made from.
	PolicyRules = Call[RulesRequest, RulesReply]{"sallyport.call.policy.rules", Policy, "Which enrolments and skips count now, and which would under other settings?"}
	// PolicyStanding tells all that is remembered of a person, with its revision.
	PolicyStanding = Call[DecideRequest, StandingReply]{"sallyport.call.policy.standing", Policy, "Where does this person stand, and which revision of that is it?"}
	// PolicyEnable clears a contact's skip at their own wish; enrolment begins at their next sign-in, also where it is
	// optional. Refused (forbidden) where policy does not let them enrol, (conflict) where they are enrolled.
	PolicyEnable = Call[EnableRequest, Empty]{"sallyport.call.policy.enable", Policy, "Let this contact enrol at their next sign-in, as they wish."}
	// PolicyRename gives a living enrolment another label; of any other enrolment it is not_found.
	PolicyRename = Call[RenameRequest, Empty]{"sallyport.call.policy.rename", Policy, "Give a person's device another name."}
	// PolicyAudit appends one entry to a portal's audit log, once per id, and returns when it is durable: before the
	// gateway acknowledges a change of its own.
	PolicyAudit = Call[AuditRequest, Empty]{"sallyport.call.policy.audit", Policy, "Append this entry to the audit log, once, before the change is acknowledged."}
	// PolicyAuditList reads the audit log, newest first.
	PolicyAuditList = Call[AuditListRequest, AuditPage]{"sallyport.call.policy.audit-list", Policy, "Which audit entries match, newest first?"}

	// TOTPBegin makes a seed for an enrolment, or returns the one that is still pending for it.
	TOTPBegin = Call[TOTPBeginRequest, TOTPBeginReply]{"sallyport.call.totp.begin", TOTP, "Make a seed for an enrolment and show it, until it is confirmed or ten minutes old."}
	// TOTPConfirm activates the pending seed with one right code.
	TOTPConfirm = Call[TOTPConfirmRequest, Confirmation]{"sallyport.call.totp.confirm", TOTP, "Activate the pending seed with one right code."}
	// TOTPVerify checks a code of the active seed. A step succeeds once, on any number of replicas.
	TOTPVerify = Call[TOTPVerifyRequest, Empty]{"sallyport.call.totp.verify", TOTP, "Check a code of the active authenticator; a step succeeds once."}
	// TOTPRegenerate makes ten new recovery codes and kills all earlier ones.
	TOTPRegenerate = Call[RegenerateRequest, RegenerateReply]{"sallyport.call.totp.regenerate", TOTP, "Make ten new recovery codes; earlier ones are dead."}
	// TOTPRecover spends a recovery code.
	TOTPRecover = Call[RecoverRequest, RecoverReply]{"sallyport.call.totp.recover", TOTP, "Spend one recovery code of this person."}
	// TOTPStatus tells what an account page shows.
	TOTPStatus = Call[StatusRequest, TOTPStatusReply]{"sallyport.call.totp.status", TOTP, "How many recovery codes are left, and what is locked?"}
	// TOTPUnlock starts the counts of wrong codes (authenticator and recovery codes) again. Refused (conflict) when the
	// authenticator is disabled: only recovery or a reset helps then.
	TOTPUnlock = Call[UnlockRequest, UnlockReply]{"sallyport.call.totp.unlock", TOTP, "Open an authenticator, and recovery codes, that wrong codes have locked."}

	// SMSOpen writes a challenge, after the limits were asked, and supersedes the sign-in's earlier one. Nothing is
	// sent before the challenge's event arrives.
	SMSOpen = Call[SMSOpenRequest, SMSOpenReply]{"sallyport.call.sms.open", SMSDispatcher, "May this person be texted now? Then write the challenge that the event will send."}
	// SMSConfirm activates the pending number with one right code.
	SMSConfirm = Call[SMSConfirmRequest, Confirmation]{"sallyport.call.sms.confirm", SMSDispatcher, "Activate the pending number with one right code."}
	// SMSVerify checks the code of a challenge. A code succeeds once, on any number of replicas.
	SMSVerify = Call[SMSVerifyRequest, Empty]{"sallyport.call.sms.verify", SMSDispatcher, "Check the code of a challenge; it succeeds once."}
	// SMSStatus tells how far a challenge's message is.
	SMSStatus = Call[SMSStatusRequest, SMSStatusReply]{"sallyport.call.sms.status", SMSDispatcher, "How far is this challenge's message, and when may it be sent again?"}
	// SMSUnlock starts the count of wrong codes again. Refused (conflict) when the factor is disabled.
	SMSUnlock = Call[UnlockRequest, UnlockReply]{"sallyport.call.sms.unlock", SMSDispatcher, "Open a telephone that wrong codes have locked."}
	// SMSDeliveries lists text messages, newest first.
	SMSDeliveries = Call[DeliveriesRequest, DeliveriesPage]{"sallyport.call.sms.deliveries", SMSDispatcher, "Which text messages were sent, or failed, newest first?"}
	// SMSTraffic tells per country how many texts were answered, and whether the country is stopped.
	SMSTraffic = Call[TrafficRequest, TrafficReply]{"sallyport.call.sms.traffic", SMSDispatcher, "How many texts went to each country, how many were answered, and is one stopped?"}
)

// Empty is a reply that says no more than yes.
type Empty struct{}

// DecideRequest asks [PolicyDecide].
type DecideRequest struct {
	Account
	Audience  Audience `json:"audience"`
	Federated bool     `json:"federated"`
	// Again tells that the person was asked about before in this sign-in: figures count it once.
	Again bool `json:"again,omitempty"`
}

// Action is what a decision asks for.
type Action string

// The three actions.
const (
	Allow     Action = "allow"
	Enroll    Action = "enroll"
	Challenge Action = "challenge"
)

// Decision is the answer of [PolicyDecide].
type Decision struct {
	Action Action `json:"action"`
	// Factor is the one to enrol or to ask for; absent when allowed.
	Factor Factor `json:"factor,omitempty"`
	// CanSkip offers "Skip for now" (only with [Enroll]).
	CanSkip bool `json:"can_skip"`
	// MayEnroll is true where policy lets this person enable a factor in their own profile.
	MayEnroll bool `json:"may_enroll"`
	// MayRemove is true where policy lets this person remove their factor.
	MayRemove bool         `json:"may_remove"`
	Mode      Mode         `json:"mode"`
	Standing  Standing     `json:"standing"`
	Factors   []FactorInfo `json:"factors,omitempty"`
	// Epoch is what a new enrolment must be recorded under.
	Epoch Epoch `json:"epoch"`
	// Reset is the person's last reset, while they have not enrolled since: the page tells them.
	Reset *ResetNote `json:"reset,omitempty"`
}

// ResetNote says when and why a person must enrol again.
type ResetNote struct {
	At    time.Time  `json:"at"`
	Cause ResetCause `json:"cause"`
}

// LongestLabel is how many characters a person's name for a device may have, wherever it is given.
const LongestLabel = 64

// FactorInfo is one living enrolment.
type FactorInfo struct {
	Factor    Factor    `json:"factor"`
	Enrolment string    `json:"enrolment"`
	Label     string    `json:"label,omitempty"`
	Since     time.Time `json:"since"`
}

// SkipRequest asks [PolicySkip]; the request id makes it idempotent.
type SkipRequest struct {
	DecideRequest
}

// RecordRequest asks [PolicyRecord].
type RecordRequest struct {
	Account
	FactorInfo
	Epoch Epoch `json:"epoch"`
}

// ResetRequest asks [PolicyReset].
type ResetRequest struct {
	Account
	// Reset is the id by which the reset happens once.
	Reset string `json:"reset"`
	// Actor is the user who asked, "recovery" for the person's own recovery code, or "operator:<name>".
	Actor string     `json:"actor"`
	Cause ResetCause `json:"cause"`
	// Reason is what the actor wrote.
	Reason string `json:"reason"`
	// Keep is the session in which a person removed their own factor: the one that need not end.
	Keep string `json:"keep,omitempty"`
	// OfOrganization tells that the actor is an admin of the person's organization, and not of the portal.
	OfOrganization bool `json:"of_organization,omitempty"`
}

// ResetCause is why a person's factors are dead.
type ResetCause string

// The causes of a reset.
const (
	ResetByAdmin    ResetCause = "admin"
	ResetByRecovery ResetCause = "recovery"
	// ResetByRemoval: the person removed their own factor, where policy lets them.
	ResetByRemoval ResetCause = "removal"
	// ResetByOperator: break-glass, from the command line.
	ResetByOperator ResetCause = "operator"
)

// EnableRequest asks [PolicyEnable].
type EnableRequest struct {
	DecideRequest
	// ID is the wish by which it happens, and is audited, once.
	ID string `json:"id"`
}

// RenameRequest asks [PolicyRename].
type RenameRequest struct {
	Account
	Factor    Factor `json:"factor"`
	Enrolment string `json:"enrolment"`
	Label     string `json:"label"`
}

// RulesRequest asks [PolicyRules].
type RulesRequest struct {
	Portal string `json:"portal"`
	// Wanted are the settings of a change that is thought of; nil asks only for what counts now.
	Wanted *Settings `json:"wanted,omitempty"`
}

// RulesReply is the reply of [PolicyRules].
type RulesReply struct {
	Settings Settings    `json:"settings"`
	Now      PortalRules `json:"now"`
	// After is what would count after the change; equal to Now when none was asked about.
	After PortalRules `json:"after"`
}

// PortalRules say of both populations what counts.
type PortalRules struct {
	Internal      CountingRule `json:"internal"`
	Organizations CountingRule `json:"organizations"`
}

// Of is the rule of an audience.
func (r PortalRules) Of(a Audience) CountingRule {
	if a == Internal {
		return r.Internal
	}
	return r.Organizations
}

// CountingRule says of one population which enrolments and skips count: those made in these generations.
type CountingRule struct {
	Mode       Mode  `json:"mode"`
	Generation int64 `json:"generation"`
	// SkipsCount is true where opt-out is allowed; a skip then counts if it was said in OptOutGeneration, too.
	SkipsCount       bool  `json:"skips_count"`
	OptOutGeneration int64 `json:"opt_out_generation"`
}

// StandingReply is the reply of [PolicyStanding]. The gateway mirrors it beside the account, for lists; a mirror of a
// higher revision is the newer one.
type StandingReply struct {
	Decision Decision `json:"decision"`
	Revision int64    `json:"revision"`
	// EnrolledIn is the population's generation in which the person's factor was enrolled, 0 without one that the
	// person's own generation lets count; Info describes it.
	EnrolledIn int64       `json:"enrolled_in"`
	Info       *FactorInfo `json:"info,omitempty"`
	// SkippedIn and SkippedOptOut are the generations in which the person skipped; 0 when they did not.
	SkippedIn     int64 `json:"skipped_in"`
	SkippedOptOut int64 `json:"skipped_opt_out"`
}

// AuditAction names what an audit entry is about: a closed list, by which admins filter and export.
type AuditAction string

// Every audit action.
const (
	AuditEnrolmentStarted   AuditAction = "enrolment_started"
	AuditEnrolmentConfirmed AuditAction = "enrolment_confirmed"
	AuditEnrolmentReset     AuditAction = "enrolment_reset"
	AuditEnrolmentRemoved   AuditAction = "enrolment_removed"
	AuditEnrolmentSkipped   AuditAction = "enrolment_skipped"
	AuditEnrolmentEnabled   AuditAction = "enrolment_enabled"
	AuditSettingsChanged    AuditAction = "settings_changed"
	AuditChallengeEnded     AuditAction = "challenge_ended"
	AuditFactorLocked       AuditAction = "factor_locked"
	AuditFactorUnlocked     AuditAction = "factor_unlocked"
	AuditFactorRecovered    AuditAction = "factor_recovered"
	AuditRecoveryCodes      AuditAction = "recovery_codes_made"
	AuditUserCreated        AuditAction = "user_created"
	AuditUserChanged        AuditAction = "user_changed"
	AuditUserDeleted        AuditAction = "user_deleted"
	AuditPasswordLink       AuditAction = "password_link_made"
	AuditPasswordSet        AuditAction = "password_set"
	AuditSessionsEnded      AuditAction = "sessions_ended"
	AuditPortalCreated      AuditAction = "portal_created"
	AuditPortalChanged      AuditAction = "portal_changed"
	AuditBreakGlass         AuditAction = "break_glass"
	AuditTextsLimited       AuditAction = "texts_limited"
	AuditTextsStopped       AuditAction = "texts_stopped"
	AuditTextsResumed       AuditAction = "texts_resumed"
	AuditPasswordGuesses    AuditAction = "password_guesses"
	AuditUsersExported      AuditAction = "users_exported"
	AuditKeysChanged        AuditAction = "keys_changed"
)

// AuditActions lists every action, in the order of a menu.
func AuditActions() []AuditAction {
	return []AuditAction{
		AuditEnrolmentStarted, AuditEnrolmentConfirmed, AuditEnrolmentReset, AuditEnrolmentRemoved, AuditEnrolmentSkipped,
		AuditEnrolmentEnabled, AuditSettingsChanged, AuditChallengeEnded, AuditFactorLocked, AuditFactorUnlocked,
		AuditFactorRecovered, AuditRecoveryCodes, AuditUserCreated, AuditUserChanged, AuditUserDeleted, AuditPasswordLink,
		AuditPasswordSet, AuditSessionsEnded, AuditPortalCreated, AuditPortalChanged, AuditBreakGlass,
		AuditTextsLimited, AuditTextsStopped, AuditTextsResumed, AuditPasswordGuesses,
		AuditUsersExported, AuditKeysChanged,
	}
}

// AuditNote is what happened, as its author says it.
type AuditNote struct {
	Portal string      `json:"portal"`
	Action AuditAction `json:"action"`
	// Actor is who did it: a user's id, "recovery", or "operator:<name>"; empty when nobody did.
	Actor string `json:"actor,omitempty"`
	// User is whom it is about, if anybody.
	User   string            `json:"user,omitempty"`
	Reason string            `json:"reason,omitempty"`
	Detail map[string]string `json:"detail,omitempty"`
	At     time.Time         `json:"at"`
}

// AuditRequest asks [PolicyAudit].
type AuditRequest struct {
	// ID is the event's: the same entry told again, by a call or by its fact, is appended once.
	ID string `json:"id"`
	AuditNote
}

// AuditEntry is one link of a portal's audit log.
type AuditEntry struct {
	// Seq counts the portal's entries from 1, without gaps.
	Seq int64  `json:"seq"`
	ID  string `json:"id"`
	AuditNote
	// Request is the id of the request that caused it, by which logs are searched.
	Request string `json:"request,omitempty"`
	// Hash binds this entry to all before it, in hexadecimal.
	Hash string `json:"hash"`
}

// AuditListRequest asks [PolicyAuditList]. Empty fields filter nothing.
type AuditListRequest struct {
	Portal string      `json:"portal"`
	User   string      `json:"user,omitempty"`
	Action AuditAction `json:"action,omitempty"`
	// From is inclusive, To exclusive.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Cursor is AuditPage.Next of the page before.
	Cursor string `json:"cursor,omitempty"`
	// Limit is at most 200; 0 means 50.
	Limit int `json:"limit,omitempty"`
}

// AuditPage is the reply of [PolicyAuditList].
type AuditPage struct {
	Items []AuditEntry `json:"items"`
	// Next is the cursor of the following page; empty at the end.
	Next string `json:"next,omitempty"`
}

// UnlockRequest asks [TOTPUnlock] and [SMSUnlock].
type UnlockRequest struct {
	Account
	// ID is the unlock, by which it is told once.
	ID     string `json:"id"`
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

// UnlockReply is the reply of [TOTPUnlock] and [SMSUnlock].
type UnlockReply struct {
	// Unlocked is false when nothing was locked; then nothing was changed, and nothing is told.
	Unlocked bool `json:"unlocked"`
}

// DeliveriesRequest asks [SMSDeliveries]. Empty fields filter nothing.
type DeliveriesRequest struct {
	Portal string `json:"portal"`
	User   string `json:"user,omitempty"`
	// Purpose is what the texts were for.
	Purpose Purpose `json:"purpose,omitempty"`
	// From is inclusive, To exclusive.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Cursor is DeliveriesPage.Next of the page before.
	Cursor string `json:"cursor,omitempty"`
	// Limit is at most 200; 0 means 50.
	Limit int `json:"limit,omitempty"`
}

// DeliveriesPage is the reply of [SMSDeliveries].
type DeliveriesPage struct {
	Items []DeliveryInfo `json:"items"`
	// Next is the cursor of the following page; empty at the end.
	Next string `json:"next,omitempty"`
}

// DeliveryInfo is one text message as an admin may see it.
type DeliveryInfo struct {
	Challenge string  `json:"challenge"`
	User      string  `json:"user"`
	Purpose   Purpose `json:"purpose"`
	// Destination shows the last four digits only.
	Destination string        `json:"destination"`
	Delivery    Delivery      `json:"delivery"`
	Reason      FailureReason `json:"reason,omitempty"`
	Attempts    int           `json:"attempts"`
	// MessageID is the provider's, by which its support finds the message.
	MessageID string    `json:"message_id,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// VerifiedAt is when its code was typed.
	VerifiedAt time.Time `json:"verified_at,omitzero"`
}

// TrafficRequest asks [SMSTraffic].
type TrafficRequest struct {
	Portal string `json:"portal"`
}

// TrafficReply is the reply of [SMSTraffic]: the countries that were texted or are stopped, by their names' order.
type TrafficReply struct {
	Countries []CountryTraffic `json:"countries"`
	// BudgetSpent is true while no text is sent because the installation's budget of the day is spent.
	BudgetSpent bool `json:"budget_spent,omitempty"`
}

// CountryTraffic is how the texts of a portal to one country fared of late.
type CountryTraffic struct {
	// Country is a region of ISO 3166-1 alpha-2.
	Country string `json:"country"`
	// Sent counts texts of the last 24 hours whose codes are over: answered, replaced or expired. Answered counts
	// those of them whose code was typed.
	Sent     int `json:"sent"`
	Answered int `json:"answered"`
	// StoppedUntil is set while nothing is sent there because too few codes came back.
	StoppedUntil *time.Time `json:"stopped_until,omitempty"`
	// Recorded is true where the stop is recorded only: texts go out all the same.
	Recorded bool `json:"recorded,omitempty"`
}

// SettingsRequest asks [PolicySettings].
type SettingsRequest struct {
	Portal string `json:"portal"`
}

// Settings are a portal's second-factor settings.
type Settings struct {
	Internal      PopulationSettings   `json:"internal"`
	Organizations OrganizationSettings `json:"organizations"`
	// Version counts changes; a change names the version it was made from.
	Version int64 `json:"version"`
}

// PopulationSettings is the setting of internal users.
type PopulationSettings struct {
	Mode Mode `json:"mode"`
}

// OrganizationSettings is the setting of organizations' contacts.
type OrganizationSettings struct {
	Mode        Mode `json:"mode"`
	AllowOptOut bool `json:"allow_opt_out"`
}

// ChangeRequest asks [PolicyChange].
type ChangeRequest struct {
	Portal   string   `json:"portal"`
	Actor    string   `json:"actor"`
	Settings Settings `json:"settings"`
}

// TOTPBeginRequest asks [TOTPBegin].
type TOTPBeginRequest struct {
	Account
	Enrolment string `json:"enrolment"`
	// Issuer and Label stand in the authenticator app: the portal's name and the person's e-mail address.
	Issuer string `json:"issuer"`
	Label  string `json:"label"`
	Epoch  Epoch  `json:"epoch"`
}

// TOTPBeginReply carries the key URI (otpauth://…), sealed with [PurposeSeed]. The secret is a parameter of it.
type TOTPBeginReply struct {
	URI       Sealed    `json:"uri"`
	ExpiresAt time.Time `json:"expires_at"`
}

// TOTPConfirmRequest asks [TOTPConfirm].
type TOTPConfirmRequest struct {
	Account
	Enrolment string `json:"enrolment"`
	Code      Sealed `json:"code"`
	// Label is the person's name for the device; may be empty.
	Label string `json:"label,omitempty"`
}

// Confirmation is the reply of [TOTPConfirm] and [SMSConfirm]: what [PolicyRecord] must be told.
type Confirmation struct {
	FactorInfo
	Epoch Epoch `json:"epoch"`
}

// TOTPVerifyRequest asks [TOTPVerify]. Enrolment is the one that policy counts; another one is refused.
type TOTPVerifyRequest struct {
	Account
	Enrolment string `json:"enrolment"`
	Code      Sealed `json:"code"`
}

// RegenerateRequest asks [TOTPRegenerate]. The codes are good under the epoch's population generation, and no other.
type RegenerateRequest struct {
	Account
	Epoch Epoch `json:"epoch"`
}

// RegenerateReply carries a JSON array of ten codes, sealed with [PurposeRecoveryCodes].
type RegenerateReply struct {
	Codes Sealed `json:"codes"`
}

// RecoverRequest asks [TOTPRecover]. Epoch is the one that counts now.
type RecoverRequest struct {
	Account
	Code  Sealed `json:"code"`
	Epoch Epoch  `json:"epoch"`
}

// RecoverReply names the recovery, by which the reset that follows happens once.
type RecoverReply struct {
	Recovery  string `json:"recovery"`
	CodesLeft int    `json:"codes_left"`
}

// StatusRequest asks [TOTPStatus].
type StatusRequest struct {
	Account
}

// TOTPStatusReply is the reply of [TOTPStatus].
type TOTPStatusReply struct {
	CodesLeft int `json:"codes_left"`
	// CodesPopulation is the population generation in which the recovery codes are good.
	CodesPopulation int64 `json:"codes_population,omitempty"`
	// Lock is that of the authenticator, RecoveryLock that of the recovery codes; nil while open.
	Lock         *Lock `json:"lock,omitempty"`
	RecoveryLock *Lock `json:"recovery_lock,omitempty"`
	// AttemptsLeft is how many wrong codes of the authenticator are left before a lock; 0 while closed.
	AttemptsLeft int `json:"attempts_left,omitempty"`
}

// CodesIn is how many recovery codes are left that are good in an epoch.
func (r TOTPStatusReply) CodesIn(e Epoch) int {
	if r.CodesPopulation != e.Population {
		return 0
	}
	return r.CodesLeft
}

// Lock is a factor that is closed after wrong codes.
type Lock struct {
	Failures int `json:"failures"`
	// Until is when it opens; nil when it is disabled until recovery or reset.
	Until *time.Time `json:"until,omitempty"`
}

// Purpose is what a text message is for; a code serves no other purpose.
type Purpose string

// The purposes of a text message.
const (
	ForEnrolment Purpose = "enrolment"
	ForSignIn    Purpose = "sign_in"
	ForStepUp    Purpose = "step_up"
)

// SMSOpenRequest asks [SMSOpen].
type SMSOpenRequest struct {
	Account
	// Challenge is the new challenge's id; asking again with the same one changes nothing.
	Challenge string `json:"challenge"`
	// Flow is the sign-in or session that the code is bound to.
	Flow    string  `json:"flow"`
	Purpose Purpose `json:"purpose"`
	// Enrolment is the pending enrolment ([ForEnrolment]) or the living one.
	Enrolment string `json:"enrolment"`
	Epoch     Epoch  `json:"epoch"`
	// Phone is a number as typed, sealed with [PurposePhone]; only with [ForEnrolment], and absent there on a resend.
	Phone Sealed `json:"phone,omitempty"`
	// PortalName and Host stand in the text; Host is that of the portal's public URL.
	PortalName string `json:"portal_name"`
	Host       string `json:"host"`
	// Network is the /24 (IPv6: /64) that the request came from; empty where it is not known.
	Network string `json:"network,omitempty"`
}

// SMSOpenReply is the reply of [SMSOpen].
type SMSOpenReply struct {
	// Destination shows the last four digits only.
	Destination string    `json:"destination"`
	ResendAt    time.Time `json:"resend_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	// AttemptsLeft is how many wrong codes are left before a lock; 0 while closed.
	AttemptsLeft int `json:"attempts_left,omitempty"`
}

// SMSConfirmRequest asks [SMSConfirm].
type SMSConfirmRequest struct {
	Account
	Challenge string `json:"challenge"`
	Flow      string `json:"flow"`
	Enrolment string `json:"enrolment"`
	Code      Sealed `json:"code"`
}

// SMSVerifyRequest asks [SMSVerify].
type SMSVerifyRequest struct {
	Account
	Challenge string  `json:"challenge"`
	Flow      string  `json:"flow"`
	Purpose   Purpose `json:"purpose"`
	Code      Sealed  `json:"code"`
}

// SMSStatusRequest asks [SMSStatus]. Without a challenge it asks only when the person may be texted.
type SMSStatusRequest struct {
	Account
	Challenge string `json:"challenge,omitempty"`
}

// Delivery is how far a text message is, as a person may know it.
type Delivery string

// The deliveries a person may see.
const (
	DeliveryQueued Delivery = "queued"
	DeliverySent   Delivery = "sent"
	DeliveryFailed Delivery = "failed"
)

// SMSStatusReply is the reply of [SMSStatus].
type SMSStatusReply struct {
	Delivery Delivery `json:"delivery,omitempty"`
	// Reason is a [FailureReason] when the delivery failed.
	Reason FailureReason `json:"reason,omitempty"`
	// Paused is true while the message waits and nothing is sent: AWS refuses our account, or calls fail one after the other.
	Paused   bool      `json:"paused,omitempty"`
	ResendAt time.Time `json:"resend_at"`
	// RequestedAt is when the challenge was asked for; zero without one.
	RequestedAt time.Time `json:"requested_at,omitzero"`
	// Destination shows the last four digits only.
	Destination string `json:"destination,omitempty"`
	// Lock is that of the person's telephone; nil while open.
	Lock *Lock `json:"lock,omitempty"`
	// AttemptsLeft is how many wrong codes are left before a lock; 0 while closed.
	AttemptsLeft int `json:"attempts_left,omitempty"`
}

// FailureReason says why a text message was not handed over: a closed set, fit for labels and for texts.
type FailureReason string

// Why a text message was not handed over.
const (
	ReasonInvalidNumber FailureReason = "invalid_number"
	ReasonOptedOut      FailureReason = "opted_out"
	ReasonExpired       FailureReason = "expired"
	ReasonSuperseded    FailureReason = "superseded"
	ReasonCarrier       FailureReason = "carrier"
	// ReasonStopped: texts to its country were stopped while it waited.
	ReasonStopped FailureReason = "stopped"
	// ReasonUnsendable: a fault on our side, such as a sender that is refused or a record that does not open.
	ReasonUnsendable FailureReason = "unsendable"
)
