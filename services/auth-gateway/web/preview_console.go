package web

import "time"

// previewConsole is every page of the admin console in every state worth looking at.
func previewConsole(out Frame) map[string]struct {
	Frame
	Page
} {
	type fixture = struct {
		Frame
		Page
	}

	now := out.Now
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	as, own, plain := out, out, out
	as.User = &Person{Name: "Dana Reyes", Email: "dana@northwind.test", CanAdmin: true}
	own.User = &Person{Name: "Olga Petrov", Email: "owner@acme.test", CanAdmin: true, AdminOf: "Acme"}
	plain.User = &Person{Name: "Amir Haddad", Email: "agent@demo.test"}

	internal := Population{Audience: InternalUsers, Mode: Required, Users: 1214, Enrolled: 1198, WillEnroll: 13, Locked: 3, Federated: 40, Disabled: 1}
	contacts := Population{Audience: Contacts, Mode: Required, AllowOptOut: true, Users: 18211, Enrolled: 9011, Skipped: 5012, WillEnroll: 4188}
	dana := PersonRow{
		ID: "dana", Name: "Dana Reyes", Email: "dana@northwind.test", Audience: InternalUsers, MasterAdmin: true,
		Standing: Enrolled, Factor: TOTP, Since: ago(90 * 24 * time.Hour), LastSignIn: ago(47 * time.Minute), Must: true,
	}
	sam := PersonRow{ID: "sam", Name: "Sam Okafor", Email: "sam@northwind.test", Audience: InternalUsers, Standing: NotEnrolled, Must: true, NoPassword: true}
	ines := with(dana, func(p *PersonRow) {
		p.ID, p.Name, p.Email, p.MasterAdmin, p.LockedUntil = "ines", "Ines Duarte", "ines@northwind.test", false, now.Add(30*time.Second)
	})
	entra := PersonRow{ID: "entra", Name: "Elif Demir", Email: "entra@northwind.test", Audience: InternalUsers, Federated: true, Standing: Exempt, LastSignIn: ago(time.Hour)}
	clerk := PersonRow{
		ID: "clerk", Name: "Clara Weiss", Email: "clerk@acme.test", Audience: Contacts, Organization: "Acme",
		Standing: Enrolled, Factor: SMS, Since: ago(24 * time.Hour), LastSignIn: ago(3 * time.Hour), Must: true,
	}
	owner := PersonRow{ID: "owner", Name: "Olga Petrov", Email: "owner@acme.test", Audience: Contacts, Organization: "Acme", OrganizationAdmin: true, Standing: Skipped, Must: true}
	temp := PersonRow{ID: "temp", Email: "temp@acme.test", Audience: Contacts, Organization: "Acme", Disabled: true}
	name := func(p PersonRow) Named { return Named{ID: p.ID, Name: p.Name} }

	texts := []DeliveryRow{
		{Person: name(clerk), At: ago(3 * time.Hour), Destination: "xxx-xxx-9443", Purpose: ForSignIn, Delivery: Sent, Attempts: 1, MessageID: "5d1e3a6c", Verified: true},
		{Person: name(clerk), At: ago(4 * time.Hour), Destination: "xxx-xxx-9443", Purpose: ForSignIn, Delivery: Failed, Reason: DeliveryCarrier, Attempts: 3},
		{Person: name(clerk), At: ago(4*time.Hour + time.Minute), Destination: "xxx-xxx-9443", Purpose: ForSignIn, Delivery: Failed, Reason: FailureText("stopped")},
		{Person: name(clerk), At: ago(4*time.Hour + 2*time.Minute), Destination: "xxx-xxx-9443", Purpose: ForSignIn, Delivery: Failed, Reason: FailureText("unsendable"), Attempts: 1},
		{Person: name(owner), At: ago(5 * time.Hour), Destination: "xxx-xxx-1200", Purpose: ForEnrolment, Delivery: Queued},
	}
	log := []AuditRow{
		{Seq: 1284, At: ago(time.Minute), Action: "enrolment_reset", Actor: name(dana), Person: name(ines), Reason: "New phone, seen in person", Request: "01JP4T6E8Q2V"},
		{Seq: 1283, At: ago(2 * time.Minute), Action: "settings_changed", Actor: name(dana), Request: "01JP4T6E8Q2U", Detail: map[string]string{
			"internal_before": "off", "internal_after": "required", "organizations_before": "required", "organizations_after": "required", "opt_out_before": "false", "opt_out_after": "true",
		}},
		{Seq: 1282, At: ago(3 * time.Minute), Action: "factor_locked", Person: name(ines), Detail: map[string]string{"factor": "totp", "failures": "5", "until": "2026-03-12T10:02:00Z"}},
		{Seq: 1281, At: ago(4 * time.Minute), Action: "challenge_ended", Person: name(clerk), Detail: map[string]string{"outcome": "failed", "reason": "carrier", "attempts": "3"}},
		{Seq: 1280, At: ago(5 * time.Minute), Action: "enrolment_confirmed", Actor: name(clerk), Person: name(clerk), Detail: map[string]string{"factor": "sms"}},
		{Seq: 1279, At: ago(6 * time.Minute), Action: "user_deleted", Actor: name(dana), Person: Named{ID: "01J9XK", Gone: true}},
		{Seq: 1278, At: ago(7 * time.Minute), Action: "break_glass", Actor: Named{Name: "Operator root"}, Person: name(dana), Reason: "Phone lost abroad"},
	}
	limits := []AuditRow{
		{Seq: 1290, At: ago(time.Minute), Action: "texts_resumed", Actor: Named{Name: "Operator root"}, Reason: "The carrier is mended", Detail: map[string]string{"country": "GB", "sent": "61", "answered": "4"}},
		{Seq: 1289, At: ago(2 * time.Minute), Action: "texts_stopped", Detail: map[string]string{"country": "GB", "sent": "61", "answered": "4", "until": "2026-03-13T10:00:00Z"}},
		{Seq: 1288, At: ago(3 * time.Minute), Action: "texts_limited", Person: name(clerk), Detail: map[string]string{"guard": "number", "subject": "xxx-xxx-9443", "limit": "5", "window": "600", "recorded": "true"}},
	}
	traffic := &Traffic{Rows: []TrafficRow{
		{Country: "CA", Sent: 212, Answered: 201},
		{Country: "GB", Sent: 61, Answered: 4, StoppedUntil: now.Add(23 * time.Hour)},
		{Country: "MX", Sent: 52, Answered: 5, StoppedUntil: now.Add(20 * time.Hour), Recorded: true},
		{Country: "US", Sent: 4180, Answered: 4066},
	}}
	may := Deed{Can: true}
	person := PersonPage{
		Person: ines, Next: "challenge", Label: "Pixel 9", ShowRecovery: true, RecoveryLeft: 8,
		Sessions: []SessionRow{
			{Device: "Firefox on Linux", SignedIn: ago(time.Hour), Seen: ago(2 * time.Minute), Methods: []Method{ByPassword, ByAuthenticator}},
			{SignedIn: ago(5 * time.Hour), Seen: ago(20 * time.Minute), Methods: []Method{ByPassword, ByRecovery}},
		},
		History: log[:3], MoreEvents: true,
		Reset: may, Unlock: may, EndSessions: may, Edit: may, Link: may, Disable: may, Delete: may,
	}
	ask := func(a Ask) Confirm {
		return Confirm{Ask: a, Audience: InternalUsers, ID: ines.ID, Name: ines.Name, Email: ines.Email}
	}
	policy := Policy{Internal: Off, Organizations: Required, AllowOptOut: true, Version: 7}
	wanted := Policy{Internal: Required, Organizations: Required, AllowOptOut: true, Version: 7}
	preview := SettingsPreview{
		Policy: wanted, StepUpNeeded: true, StepUp: StepUpFields{Factor: TOTP},
		Hits: []Hit{
			{Audience: InternalUsers, Before: policy.ModeText(InternalUsers), After: wanted.ModeText(InternalUsers), Changed: true, InScope: 1214, WillEnroll: 1201},
			{Audience: Contacts, After: wanted.ModeText(Contacts), InScope: 18211, WillEnroll: 4188, Skipped: 5012},
		},
		Warnings: []Text{"You are among them: at your next sign-in you enrol yourself."},
	}

	return map[string]fixture{
		"console-overview": {as, Overview{Populations: []Population{internal, contacts}, Tasks: []Task{
			{Text: TaskLocked, Count: 3, URL: internal.URL(FilterLocked), Urgent: true}, {Text: TaskSecondAdmin, URL: "/admin/users/new?audience=internal"},
		}}},
		"console-overview-organization": {own, Overview{Populations: []Population{{Audience: Contacts, Mode: Optional, Users: 3, Enrolled: 1}}, Admins: []string{"Ada Moreau", "Sven Lindqvist"}}},
		"console-not-yours":             {plain, NotYours{Text: ForAdmins, Admins: []string{"Ada Moreau", "Sven Lindqvist"}}},
		"console-not-yours-settings":    {own, NotYours{Text: ForMasterAdmins, Admins: []string{"Ada Moreau"}, Back: "/admin"}},

		"console-people":              {as, People{Audience: InternalUsers, Population: &internal, Items: []PersonRow{dana, sam, ines, entra}, Next: "c2Ft", CanAdd: true}},
		"console-people-filtered":     {as, People{Audience: InternalUsers, Query: "zz", Standing: FilterLocked, Cursor: "c2Ft"}},
		"console-people-organization": {own, People{Audience: Contacts, Organization: "Acme", Items: []PersonRow{clerk, owner, temp}}},
		"console-people-contacts":     {as, People{Audience: Contacts, Items: []PersonRow{clerk}, CanAdd: true, Notice: PersonDeleted, Standing: Enrolled}},
		"console-organizations":       {as, Organizations{Population: &contacts, Items: []OrganizationRow{{"Acme", 3}, {"Globex & Söhne", 12044}}, Next: "Z2xvYmV4"}},
		"console-organizations-none":  {as, Organizations{Query: "zz", Cursor: "Z2xvYmV4"}},

		"console-person": {as, person},
		"console-person-contact": {own, PersonPage{
			Notice: PersonReset, Person: clerk, Next: "enroll", CanSkip: true, Partial: true, Destination: "xxx-xxx-9443", Deliveries: texts[:2], MoreTexts: true,
			Reset: may, Unlock: Deed{WhyNot: "Nothing is locked."}, EndSessions: may,
		}},
		"console-person-self": {as, with(person, func(p *PersonPage) {
			p.Person, p.History, p.MoreEvents = dana, nil, false
			p.Reset = Deed{WhyNot: "Another admin does that. You can replace it on your account page."}
			p.Unlock, p.Disable, p.Delete = Deed{}, Deed{WhyNot: "The portal would have no reachable Master Admin."}, Deed{WhyNot: "The portal would have no reachable Master Admin."}
		})},
		"console-person-bare": {as, PersonPage{Person: entra, Enable: may}},

		"console-confirm-reset":         {as, ask(AskReset)},
		"console-confirm-reset-missing": {as, with(ask(AskReset), func(p *Confirm) { p.ReasonError = ReasonMissing })},
		"console-confirm-unlock":        {as, ask(AskUnlock)},
		"console-confirm-sessions":      {as, ask(AskEndSessions)},
		"console-confirm-disable":       {as, with(ask(AskDisable), func(p *Confirm) { p.Refused = "The portal would have no reachable Master Admin." })},
		"console-confirm-enable":        {as, ask(AskEnable)},
		"console-confirm-delete": {as, with(ask(AskDelete), func(p *Confirm) {
			p.Typed, p.TypedError, p.StepUpNeeded, p.StepUp = "ines", TypedWrong, true, StepUpFields{Factor: SMS}
		})},
		"console-confirm-link": {as, with(ask(AskPasswordLink), func(p *Confirm) {
			p.StepUpNeeded, p.StepUp = true, StepUpFields{Factor: TOTP, CodeError: CodeWrong, AttemptsLeft: 3}
		})},
		"console-password-link": {as, PasswordLink{Audience: InternalUsers, ID: sam.ID, Name: sam.Name, Email: sam.Email, Created: true, Until: now.Add(72 * time.Hour), URL: "https://portal.northwind.test/welcome/9f2kq7tm3xw8r5vb1c6yhj4d0z"}},

		"console-person-new": {as, PersonForm{Audience: InternalUsers}},
		"console-person-new-wrong": {as, PersonForm{
			Audience: Contacts, Email: "clerk@acme.test", NameError: NameMissing, EmailError: EmailTaken, OrganizationError: OrganizationMissing,
		}},
		"console-person-edit": {as, PersonForm{
			ID: "sam", Known: "Sam Okafor", Audience: InternalUsers, Name: "Sam Okafor", Email: "sam@northwind.test", MasterAdmin: true,
			StepUpNeeded: true, StepUp: StepUpFields{Factor: TOTP, PasswordError: PasswordWrong},
		}},
		"console-person-edit-own": {own, PersonForm{
			ID: "clerk", Known: "Clara Weiss", Audience: Contacts, Name: "Clara Weiss", Email: "clerk@acme.test", Organization: "Acme", OrgFixed: true, RightsWhyNot: RightsOfMasterAdmins,
		}},

		"console-settings":       {as, SettingsForm{Policy: policy, Notice: SettingsSaved}},
		"console-settings-stale": {as, SettingsForm{Policy: policy, Wanted: wanted, Stale: true}},
		"console-settings-first": {as, SettingsForm{Policy: policy, Locked: FirstEnroll}},
		"console-preview":        {as, preview},
		"console-preview-wrong":  {as, with(preview, func(p *SettingsPreview) { p.StepUp.PasswordError = PasswordWrong })},
		"console-preview-sms": {as, with(preview, func(p *SettingsPreview) {
			p.StepUp = StepUpFields{Factor: SMS, Destination: "xxx-xxx-9443", Delivery: Sent, ResendIn: 12}
		})},
		"console-preview-provider": {as, with(preview, func(p *SettingsPreview) {
			p.StepUp = StepUpFields{Provider: &Provider{Name: "Microsoft", URL: "/account/step-up/with/entra?for=%2Fadmin"}}
		})},
		"console-preview-nothing": {as, with(preview, func(p *SettingsPreview) {
			p.Policy, p.Warnings, p.Hits = policy, nil, []Hit{{Audience: InternalUsers, After: policy.ModeText(InternalUsers), InScope: 1214}}
		})},
		"console-branding": {as, BrandingForm{Brand: out.Brand, LogoSize: 12}},
		"console-branding-wrong": {as, with(BrandingForm{Brand: out.Brand, LogoSize: 12, NameError: PortalNameMissing, RequestError: URLInvalid, LogoError: LogoInvalid}, func(p *BrandingForm) {
			p.Brand.Name, p.Brand.Accent, p.Brand.LogoURL, p.Brand.LogoDarkURL = "", "#ffcc00", "/brand/logo", "/brand/logo-dark"
		})},

		"console-deliveries":         {as, Deliveries{Traffic: &Traffic{Rows: traffic.Rows[:1]}, Items: texts, Next: "MTI4"}},
		"console-deliveries-stopped": {as, Deliveries{Traffic: traffic, Items: texts}},
		"console-deliveries-budget":  {as, Deliveries{Traffic: &Traffic{Rows: traffic.Rows[3:], BudgetSpent: true}, Items: texts}},
		"console-deliveries-unknown": {as, Deliveries{Traffic: &Traffic{Unknown: true}, Items: texts[:1]}},
		"console-audit-limits":       {as, Audit{Items: limits, Actions: []Option{{"", AnyAction, true}}}},
		"console-deliveries-wrong":   {as, Deliveries{Filter: Filter{Typed: "nobody@acme.test", From: ago(48 * time.Hour)}, UserError: UserUnknown}},
		"console-audit":              {as, Audit{Items: log, Next: "MTI3OA", Actions: []Option{{"", AnyAction, false}, {"enrolment_reset", ActionText("enrolment_reset"), true}}}},
		"console-audit-none":         {as, Audit{Filter: Filter{User: name(dana), Action: "portal_created", To: now}, Cursor: "MTI3OA", Actions: []Option{{"", AnyAction, true}}}},
	}
}
