package web

// What the console says after something was done, by the word in its address.
const (
	SettingsSaved   Text = "notice.settings_saved"
	BrandingSaved   Text = "notice.branding_saved"
	PersonCreated   Text = "notice.person_created"
	PersonSaved     Text = "notice.person_saved"
	PersonDeleted   Text = "notice.person_deleted"
	PersonReset     Text = "notice.person_reset"
	PersonUnlocked  Text = "notice.person_unlocked"
	PersonDisabled  Text = "notice.person_disabled"
	PersonEnabled   Text = "notice.person_enabled"
	PersonSignedOut Text = "notice.person_signed_out"
)

// Why something of the console is not this person's.
const (
	ForMasterAdmins Text = "not_yours.master"       // whole pages of the portal
	ForAdmins       Text = "not_yours.nobody"       // the console
	ForOther        Text = "not_yours.organization" // a person of another organization
	FirstEnroll     Text = "settings.first_enroll"  // B08
)

// What forms of the console refuse.
const (
	ReasonMissing        Text = "error.reason_missing"
	TypedWrong           Text = "error.typed_wrong"
	NameMissing          Text = "error.name_missing"
	OrganizationMissing  Text = "error.organization_missing"
	EmailTaken           Text = "error.email_taken"
	UserUnknown          Text = "error.user_unknown"
	URLInvalid           Text = "error.url_invalid"
	LogoInvalid          Text = "error.logo_invalid"
	PortalNameMissing    Text = "error.portal_name_missing"
	WhyRights            Text = "why.rights"
	RightsOfMasterAdmins Text = "form.rights_of_master"
)

// What an admin should do next.
const (
	TaskEnrollYourself Text = "task.enroll_yourself"
	TaskRecoveryCodes  Text = "task.recovery_codes"
	TaskLocked         Text = "task.locked"
	TaskWaiting        Text = "task.waiting"
	TaskSecondAdmin    Text = "task.second_admin"
	TaskSwitchOn       Text = "task.switch_on"
)

// What a text message is for.
const (
	ForSignIn    Text = "purpose.sign_in"
	ForEnrolment Text = "purpose.enrolment"
	ForStepUp    Text = "purpose.step_up"
)

// Who did something without being a person of the portal.
const (
	ActorRecovery   Text = "actor.recovery"
	ActorPortal     Text = "actor.portal"
	ActorOperator   Text = "actor.operator"
	ActorAnOperator Text = "actor.an_operator"
)

// The navigation.
const (
	navOverview      Text = "nav.overview"
	navInternal      Text = "nav.internal"
	navOrganizations Text = "nav.organizations"
	navContacts      Text = "nav.contacts"
	navSettings      Text = "nav.settings"
	navBranding      Text = "nav.branding"
	navDeliveries    Text = "nav.deliveries"
	navAudit         Text = "nav.audit"
)

// Modes, as a sentence of each population, and as a choice.
const (
	modeInternalRequired      Text = "mode.internal_required"
	modeInternalOptional      Text = "mode.internal_optional"
	modeInternalOff           Text = "mode.internal_off"
	modeOrganizationsRequired Text = "mode.organizations_required"
	modeOrganizationsOptOut   Text = "mode.organizations_opt_out"
	modeOrganizationsOptional Text = "mode.organizations_optional"
	modeOrganizationsOff      Text = "mode.organizations_off"

	modeOff              Text = "mode.off"
	modeOptional         Text = "mode.optional"
	modeRequired         Text = "mode.required"
	whatOff              Text = "mode.what_off"
	whatOptional         Text = "mode.what_optional"
	whatInternalRequired Text = "mode.what_internal_required"
	whatContactsRequired Text = "mode.what_contacts_required"
)

var modeNames = map[string]Text{"off": modeOff, "optional": modeOptional, "required": modeRequired}

// Standings as a filter.
const (
	standingAny         Text = "standing.any"
	standingNotEnrolled Text = "standing.not_enrolled"
	standingEnrolled    Text = "standing.enrolled"
	standingSkipped     Text = "standing.skipped"
	standingExempt      Text = "standing.exempt"
	standingLocked      Text = "standing.locked"
	standingNever       Text = "standing.never"
)

// Fields of the portal's look.
const (
	labelPortalName   Text = "branding.name"
	labelSupportEmail Text = "branding.support_email"
	labelSupportURL   Text = "branding.support_url"
	labelHelpText     Text = "branding.help_text"
	labelRequestURL   Text = "branding.request_url"
	labelResetURL     Text = "branding.reset_url"
	SampleButton      Text = "branding.sample_button"
	SampleLink        Text = "branding.sample_link"
	AnyAction         Text = "audit.any"
)

// What happens when a person signs in the next time.
const (
	nextDisabled   Text = "next.disabled"
	nextExempt     Text = "next.exempt"
	nextChallenge  Text = "next.challenge"
	nextSkipped    Text = "next.skipped"
	nextEnroll     Text = "next.enroll"
	nextEnrollSkip Text = "next.enroll_skip"
	nextNothing    Text = "next.nothing"
)

// What the pages of an [Ask] say.
const (
	askLogged         Text = "ask.logged"
	askResetTitle     Text = "ask.reset_title"
	askResetButton    Text = "ask.reset_button"
	askResetFactor    Text = "ask.reset_factor"
	askResetSessions  Text = "ask.reset_sessions"
	askResetNext      Text = "ask.reset_next"
	askUnlockTitle    Text = "ask.unlock_title"
	askUnlockButton   Text = "ask.unlock_button"
	askUnlockNow      Text = "ask.unlock_now"
	askUnlockKept     Text = "ask.unlock_kept"
	askSessionsTitle  Text = "ask.sessions_title"
	askSessionsButton Text = "ask.sessions_button"
	askSessionsNow    Text = "ask.sessions_now"
	askSessionsNext   Text = "ask.sessions_next"
	askDisableTitle   Text = "ask.disable_title"
	askDisableButton  Text = "ask.disable_button"
	askDisableWhat    Text = "ask.disable_what"
	askDisableNow     Text = "ask.disable_now"
	askDisableKept    Text = "ask.disable_kept"
	askEnableTitle    Text = "ask.enable_title"
	askEnableButton   Text = "ask.enable_button"
	askEnableWhat     Text = "ask.enable_what"
	askEnableNow      Text = "ask.enable_now"
	askDeleteTitle    Text = "ask.delete_title"
	askDeleteButton   Text = "ask.delete_button"
	askDeleteWhat     Text = "ask.delete_what"
	askDeleteNow      Text = "ask.delete_now"
	askDeleteFinal    Text = "ask.delete_final"
	askDeleteLog      Text = "ask.delete_log"
	askLinkTitle      Text = "ask.link_title"
	askLinkButton     Text = "ask.link_button"
	askLinkWhat       Text = "ask.link_what"
	askLinkOnce       Text = "ask.link_once"
	askLinkOld        Text = "ask.link_old"
	askLinkSafe       Text = "ask.link_safe"
)

// What an audit entry says: its name in a menu, and a sentence for a deed of one's own (or of nobody) and for one to
// another. {0} is who did it, {1} whom it is about, {2} the action's name.
const (
	auditUnknown Text = "audit.unknown"

	auditStarted         Text = "audit.enrolment_started"
	auditStartedSelf     Text = "audit.enrolment_started.self"
	auditConfirmed       Text = "audit.enrolment_confirmed"
	auditConfirmedSelf   Text = "audit.enrolment_confirmed.self"
	auditConfirmedOther  Text = "audit.enrolment_confirmed.other"
	auditReset           Text = "audit.enrolment_reset"
	auditResetOther      Text = "audit.enrolment_reset.other"
	auditResetSelf       Text = "audit.enrolment_reset.self"
	auditRemoved         Text = "audit.enrolment_removed"
	auditRemovedOther    Text = "audit.enrolment_removed.other"
	auditRemovedSelf     Text = "audit.enrolment_removed.self"
	auditSkipped         Text = "audit.enrolment_skipped"
	auditSkippedSelf     Text = "audit.enrolment_skipped.self"
	auditEnabled         Text = "audit.enrolment_enabled"
	auditEnabledSelf     Text = "audit.enrolment_enabled.self"
	auditSettings        Text = "audit.settings_changed"
	auditSettingsOther   Text = "audit.settings_changed.other"
	auditChallenge       Text = "audit.challenge_ended"
	auditChallengeSelf   Text = "audit.challenge_ended.self"
	auditLocked          Text = "audit.factor_locked"
	auditLockedSelf      Text = "audit.factor_locked.self"
	auditGuesses         Text = "audit.password_guesses"
	auditGuessesOther    Text = "audit.password_guesses.other"
	auditGuessesSelf     Text = "audit.password_guesses.self"
	auditUnlocked        Text = "audit.factor_unlocked"
	auditUnlockedOther   Text = "audit.factor_unlocked.other"
	auditUnlockedSelf    Text = "audit.factor_unlocked.self"
	auditRecovered       Text = "audit.factor_recovered"
	auditRecoveredSelf   Text = "audit.factor_recovered.self"
	auditCodes           Text = "audit.recovery_codes_made"
	auditCodesSelf       Text = "audit.recovery_codes_made.self"
	auditCreated         Text = "audit.user_created"
	auditCreatedOther    Text = "audit.user_created.other"
	auditCreatedSelf     Text = "audit.user_created.self"
	auditChanged         Text = "audit.user_changed"
	auditChangedOther    Text = "audit.user_changed.other"
	auditChangedSelf     Text = "audit.user_changed.self"
	auditDeleted         Text = "audit.user_deleted"
	auditDeletedOther    Text = "audit.user_deleted.other"
	auditLink            Text = "audit.password_link_made"
	auditLinkOther       Text = "audit.password_link_made.other"
	auditLinkSelf        Text = "audit.password_link_made.self"
	auditPassword        Text = "audit.password_set"
	auditPasswordSelf    Text = "audit.password_set.self"
	auditSessions        Text = "audit.sessions_ended"
	auditSessionsOther   Text = "audit.sessions_ended.other"
	auditSessionsSelf    Text = "audit.sessions_ended.self"
	auditPortalNew       Text = "audit.portal_created"
	auditPortalNewOther  Text = "audit.portal_created.other"
	auditPortal          Text = "audit.portal_changed"
	auditPortalOther     Text = "audit.portal_changed.other"
	auditBreakGlass      Text = "audit.break_glass"
	auditBreakGlassOther Text = "audit.break_glass.other"
	auditLimited         Text = "audit.texts_limited"
	auditLimitedSelf     Text = "audit.texts_limited.self"
	auditStopped         Text = "audit.texts_stopped"
	auditStoppedSelf     Text = "audit.texts_stopped.self"
	auditResumed         Text = "audit.texts_resumed"
	auditResumedOther    Text = "audit.texts_resumed.other"
	auditExported        Text = "audit.users_exported"
	auditExportedOther   Text = "audit.users_exported.other"
	auditKeys            Text = "audit.keys_changed"
	auditKeysOther       Text = "audit.keys_changed.other"
	detailLimit          Text = "detail.limit"
	detailAnswered       Text = "detail.answered"
	detailUntil          Text = "detail.until"
	detailRecorded       Text = "detail.recorded"
	guardPerson          Text = "guard.person"
	guardNumber          Text = "guard.number"
	guardPrefix          Text = "guard.prefix"
	guardNetwork         Text = "guard.network"
	guardCountry         Text = "guard.country"
	guardPortal          Text = "guard.portal"
	guardConversion      Text = "guard.conversion"
	guardBudget          Text = "guard.budget"
	detailInternal       Text = "detail.internal"
	detailOrganizations  Text = "detail.organizations"
	detailOptOutOn       Text = "detail.opt_out_on"
	detailOptOutOff      Text = "detail.opt_out_off"
	detailFailures       Text = "detail.failures"
	detailClosed         Text = "detail.closed"
	detailCodesLeft      Text = "detail.codes_left"
	detailChanged        Text = "detail.changed"
	detailEmail          Text = "detail.email"
	detailNewEmail       Text = "detail.new_email"
	detailMoved          Text = "detail.moved"
	detailRights         Text = "detail.rights"
	detailDisabled       Text = "detail.disabled"
	detailReenabled      Text = "detail.enabled"
	rightsNone           Text = "rights.none"
	rightsMaster         Text = "person.master_admin"
	rightsOrganization   Text = "person.organization_admin"
	factorTOTP           Text = "factor.totp"
	factorSMS            Text = "factor.sms"
	outcomeSent          Text = "outcome.sent"
	outcomeFailed        Text = "outcome.failed"
	outcomeExpired       Text = "outcome.expired"
	outcomeSuperseded    Text = "outcome.superseded"
	failureSuperseded    Text = "failure.superseded"
	failureStopped       Text = "failure.stopped"
	failureUnsendable    Text = "failure.unsendable"
)

var auditTexts = map[string]struct{ name, self, other Text }{
	"enrolment_started":   {auditStarted, auditStartedSelf, auditStartedSelf},
	"enrolment_confirmed": {auditConfirmed, auditConfirmedSelf, auditConfirmedOther},
	"enrolment_reset":     {auditReset, auditResetSelf, auditResetOther},
	"enrolment_removed":   {auditRemoved, auditRemovedSelf, auditRemovedOther},
	"enrolment_skipped":   {auditSkipped, auditSkippedSelf, auditSkippedSelf},
	"enrolment_enabled":   {auditEnabled, auditEnabledSelf, auditEnabledSelf},
	"settings_changed":    {auditSettings, auditSettingsOther, auditSettingsOther},
	"challenge_ended":     {auditChallenge, auditChallengeSelf, auditChallengeSelf},
	"factor_locked":       {auditLocked, auditLockedSelf, auditLockedSelf},
	"password_guesses":    {auditGuesses, auditGuessesSelf, auditGuessesOther},
	"factor_unlocked":     {auditUnlocked, auditUnlockedSelf, auditUnlockedOther},
	"factor_recovered":    {auditRecovered, auditRecoveredSelf, auditRecoveredSelf},
	"recovery_codes_made": {auditCodes, auditCodesSelf, auditCodesSelf},
	"user_created":        {auditCreated, auditCreatedSelf, auditCreatedOther},
	"user_changed":        {auditChanged, auditChangedSelf, auditChangedOther},
	"user_deleted":        {auditDeleted, auditDeletedOther, auditDeletedOther},
	"password_link_made":  {auditLink, auditLinkSelf, auditLinkOther},
	"password_set":        {auditPassword, auditPasswordSelf, auditPasswordSelf},
	"sessions_ended":      {auditSessions, auditSessionsSelf, auditSessionsOther},
	"portal_created":      {auditPortalNew, auditPortalNewOther, auditPortalNewOther},
	"portal_changed":      {auditPortal, auditPortalOther, auditPortalOther},
	"texts_limited":       {auditLimited, auditLimitedSelf, auditLimitedSelf},
	"texts_stopped":       {auditStopped, auditStoppedSelf, auditStoppedSelf},
	"texts_resumed":       {auditResumed, auditResumedOther, auditResumedOther},
	"users_exported":      {auditExported, auditExportedOther, auditExportedOther},
	"keys_changed":        {auditKeys, auditKeysOther, auditKeysOther},
	"break_glass":         {auditBreakGlass, auditBreakGlassOther, auditBreakGlassOther},
}

// guardTexts name the limits on text messages.
var guardTexts = map[string]Text{
	"person": guardPerson, "number": guardNumber, "prefix": guardPrefix, "network": guardNetwork,
	"country": guardCountry, "portal": guardPortal, "conversion": guardConversion, "budget": guardBudget,
}

var rightsTexts = map[string]Text{"none": rightsNone, "master_admin": rightsMaster, "organization_admin": rightsOrganization}

var outcomeTexts = map[string]Text{"sent": outcomeSent, "failed": outcomeFailed, "expired": outcomeExpired, "superseded": outcomeSuperseded}

var failureTexts = map[string]Text{
	"invalid_number": DeliveryRefused, "opted_out": DeliveryOptedOut, "carrier": DeliveryCarrier, "expired": DeliveryExpired, "superseded": failureSuperseded,
	"stopped": failureStopped, "unsendable": failureUnsendable,
}

// FailureText says why a text message was not handed over.
func FailureText(reason string) Text { return failureTexts[reason] }
