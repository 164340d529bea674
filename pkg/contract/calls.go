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
	TOTPStatus = Call[StatusRequest, TOTPStatusReply]{"sallyport.call.totp.status", TOTP, "How many recovery codes are left?"}

	// SMSOpen writes a challenge, after the limits were asked, and supersedes the sign-in's earlier one. Nothing is
	// sent before the challenge's event arrives.
	SMSOpen = Call[SMSOpenRequest, SMSOpenReply]{"sallyport.call.sms.open", SMSDispatcher, "May this person be texted now? Then write the challenge that the event will send."}
	// SMSConfirm activates the pending number with one right code.
	SMSConfirm = Call[SMSConfirmRequest, Confirmation]{"sallyport.call.sms.confirm", SMSDispatcher, "Activate the pending number with one right code."}
	// SMSVerify checks the code of a challenge. A code succeeds once, on any number of replicas.
	SMSVerify = Call[SMSVerifyRequest, Empty]{"sallyport.call.sms.verify", SMSDispatcher, "Check the code of a challenge; it succeeds once."}
	// SMSStatus tells how far a challenge's message is.
	SMSStatus = Call[SMSStatusRequest, SMSStatusReply]{"sallyport.call.sms.status", SMSDispatcher, "How far is this challenge's message, and when may it be sent again?"}
)

// Empty is a reply that says no more than yes.
type Empty struct{}

// DecideRequest asks [PolicyDecide].
type DecideRequest struct {
	Account
	Audience  Audience `json:"audience"`
	Federated bool     `json:"federated"`
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
}

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
	// Actor is the user who asked, or "recovery" for the person's own recovery code.
	Actor string `json:"actor"`
	// Reason is what the actor wrote.
	Reason string `json:"reason"`
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

// RegenerateRequest asks [TOTPRegenerate].
type RegenerateRequest struct {
	Account
}

// RegenerateReply carries a JSON array of ten codes, sealed with [PurposeRecoveryCodes].
type RegenerateReply struct {
	Codes Sealed `json:"codes"`
}

// RecoverRequest asks [TOTPRecover].
type RecoverRequest struct {
	Account
	Code Sealed `json:"code"`
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
}

// SMSOpenReply is the reply of [SMSOpen].
type SMSOpenReply struct {
	// Destination shows the last four digits only.
	Destination string    `json:"destination"`
	ResendAt    time.Time `json:"resend_at"`
	ExpiresAt   time.Time `json:"expires_at"`
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
	Reason   FailureReason `json:"reason,omitempty"`
	ResendAt time.Time     `json:"resend_at"`
	// Destination shows the last four digits only.
	Destination string `json:"destination,omitempty"`
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
)
