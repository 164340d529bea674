package web

import (
	_ "embed"
	"maps"
	"strconv"
	"time"
)

// previewQR is the code of the key in the fixtures, RFC 4648's favourite, which opens nothing.
//
//go:embed preview/qr.png
var previewQR []byte

// Preview is every page in every state worth looking at, by name: what the golden tests render, and what a designer
// looks at. It is made of constants, so that two runs are alike.
func Preview() map[string]struct {
	Frame
	Page
} {
	now := time.Date(2026, time.March, 12, 10, 1, 30, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	brand := Brand{
		Name: "Northwind Portal", Accent: "#1f5fd0",
		SupportEmail: "help@northwind.test", HelpText: "Weekdays 9 to 5, Chicago time.",
		RequestAccountURL: "https://northwind.test/request", ResetLoginURL: "https://northwind.test/reset",
	}
	out := Frame{Brand: brand, CSRF: "csrf-of-the-preview", Lang: "en", Now: now}
	as := out
	as.User = &Person{Name: "Dana Reyes", Email: "dana@northwind.test", CanAdmin: true}
	contact := out
	contact.User = &Person{Name: "Sam Okafor", Email: "clerk@acme.test", CanEnableSMS: true}
	bare := Frame{Brand: Brand{Name: "Acme"}, CSRF: "csrf-of-the-preview", Now: now}
	yellow := out
	yellow.Brand.Name, yellow.Brand.Accent, yellow.Brand.Initial = "Sunflower Freight & Storage International", "#ffcc00", "SF"
	logo := out
	logo.Brand.LogoURL = "/brand/logo"

	const masked, whole = "xxx-xxx-9443", "+1 701 555 9443"
	totp := EnrollTOTP{
		QR: previewQR, Key: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
		URI: "otpauth://totp/Northwind%20Portal:agent@demo.test?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Northwind%20Portal&algorithm=SHA1&digits=6&period=30",
	}
	app := Code{Factor: TOTP, Purpose: Challenge}
	text := Code{Factor: SMS, Purpose: Challenge, Destination: masked, Delivery: Sent, Ways: Ways{In: 23, Recovery: true}}
	home := Account{
		Credentials: []Credential{{Factor: TOTP, Label: "Pixel 9", Since: time.Date(2025, time.November, 3, 9, 0, 0, 0, time.UTC), CanRename: true, CanReplace: true, CanRemove: true}},
		CanRecover:  true, RecoveryMade: true, RecoveryLeft: 8, StepUpNeeded: true, StepUp: StepUpFields{Factor: TOTP},
		SignedInAt: in(-9 * time.Minute), Until: in(12*time.Hour - 9*time.Minute), Methods: []Method{ByPassword, ByAuthenticator}, Sessions: []OwnSession{
			{ID: "S1", Current: true, Browser: "Firefox", System: "Windows", Network: "203.0.113.0/24", SignedInAt: in(-9 * time.Minute), SeenAt: now},
			{ID: "S2", Browser: "Safari", System: "iPhone", Network: "2001:db8:7:1::/64", SignedInAt: in(-3 * time.Hour), SeenAt: in(-20 * time.Minute)},
			{ID: "S3", Network: "198.51.100.0/24", SignedInAt: in(-11 * time.Hour), SeenAt: in(-25 * time.Minute)},
		}, OtherSessions: 2,
	}
	codes := RecoveryCodes{Email: "dana@northwind.test", Replaced: true, Codes: []string{
		"7KQ2-M9XD-4TBN-W3HR", "C8VF-2PLJ-9KDS-6QYM", "X4NR-7HTB-3GWZ-8VCP", "L9DM-5SFK-2YXQ-7RNB", "H3WT-8CPG-6VJM-4DKL",
		"Q6YB-9RZN-5HXT-2FSC", "P2GK-4VMD-8LWR-9TJH", "B7XS-3QFC-6NYP-5ZGD", "T5HJ-8KVL-2RMW-3XBQ", "D4ZP-6CYG-9SFN-7LTK",
	}}

	type fixture = struct {
		Frame
		Page
	}

	all := map[string]fixture{
		"sign-in":                  {out, SignIn{Return: "/invoices"}},
		"sign-in-wrong":            {out, SignIn{Email: "agent@demo.test", Error: WrongPassword}},
		"sign-in-limited":          {out, SignIn{Email: "agent@demo.test", Error: PasswordLimit, Until: in(9 * time.Minute)}},
		"sign-in-limited-network":  {out, SignIn{Email: "agent@demo.test", Error: NetworkLimit, Until: in(9 * time.Minute)}},
		"sign-in-missing":          {out, SignIn{EmailError: EmailInvalid, PasswordError: PasswordMissing}},
		"sign-in-no-password":      {out, SignIn{Email: "agent@demo.test", PasswordError: PasswordMissing}},
		"sign-in-signed-out":       {out, SignIn{Notice: SignedOut}},
		"sign-in-relogin":          {out, SignIn{Email: "clerk@acme.test", Notice: NumberConfirmed}},
		"sign-in-expired":          {bare, SignIn{Notice: SignInExpired}},
		"sign-in-provider":         {out, SignIn{Return: "/invoices", Providers: []Provider{{"Google", "/sign-in/with/google?return=%2Finvoices"}, {"Microsoft", "/sign-in/with/microsoft?return=%2Finvoices"}}}},
		"sign-in-provider-refused": {out, SignIn{Refusal: ProviderLocal, Providers: []Provider{{"Microsoft", "/sign-in/with/microsoft"}}}},
		"sign-in-yellow":           {yellow, SignIn{}},
		"sign-in-logo":             {logo, SignIn{}},
		"welcome":                  {out, Welcome{Token: "x.preview", Email: "dana@northwind.test"}},
		"welcome-wrong":            {out, Welcome{Token: "x.preview", Email: "dana@northwind.test", PasswordError: PasswordShort}},
		"welcome-differ":           {out, Welcome{Token: "x.preview", Email: "dana@northwind.test", AgainError: PasswordsDiffer}},
		"welcome-over":             {out, Welcome{Over: true}},

		"enroll-welcome-totp":  {out, EnrollWelcome{Factor: TOTP}},
		"enroll-welcome-sms":   {out, EnrollWelcome{Factor: SMS, CanSkip: true}},
		"enroll-welcome-again": {out, EnrollWelcome{Factor: TOTP, Again: true, Error: Unavailable}},

		"enroll-welcome-recovered": {out, EnrollWelcome{Factor: SMS, Again: true, Recovered: true, CodesLeft: 2}},
		"enroll-welcome-reset":     {out, EnrollWelcome{Factor: TOTP, Again: true, ResetAt: in(-time.Hour), ResetCause: ResetByAdmin}},

		"enroll-totp":        {out, totp},
		"enroll-totp-wrong":  {out, with(totp, func(p *EnrollTOTP) { p.Error, p.AttemptsLeft, p.Label = CodeWrong, 4, "Pixel 9" })},
		"enroll-totp-clock":  {out, with(totp, func(p *EnrollTOTP) { p.Error, p.ClockOffset = CodeWrong, -7*time.Minute })},
		"enroll-totp-locked": {out, with(totp, func(p *EnrollTOTP) { p.LockedUntil = in(30 * time.Second) })},
		"enroll-totp-replace": {as, with(totp, func(p *EnrollTOTP) {
			p.Action, p.Cancel, p.Replaces = "/account/factors/totp/confirm", "/account", true
		})},
		"enroll-phone":         {out, EnrollPhone{CanSkip: true}},
		"enroll-phone-wrong":   {out, EnrollPhone{Phone: "555 12", Error: PhoneInvalid}},
		"enroll-phone-limited": {out, EnrollPhone{Phone: "(701) 555-9443", CanSkip: true, Limit: LimitNumber, LimitUntil: in(9 * time.Minute)}},

		"code-totp":          {out, with(app, func(p *Code) { p.Label = "Pixel 9" })},
		"code-totp-wrong":    {out, with(app, func(p *Code) { p.Error, p.AttemptsLeft = CodeWrong, 1 })},
		"code-totp-clock":    {out, with(app, func(p *Code) { p.Error, p.ClockOffset = CodeWrong, 95*time.Second })},
		"code-totp-locked":   {out, with(app, func(p *Code) { p.Error, p.LockedUntil = CodeWrong, in(30*time.Second) })},
		"code-totp-disabled": {out, with(app, func(p *Code) { p.Error = CodeDisabled })},
		"code-sms-queued":    {out, with(text, func(p *Code) { p.Delivery, p.ResendIn = Queued, 30 })},
		"code-sms-paused":    {out, with(text, func(p *Code) { p.Delivery, p.Paused, p.ResendIn, p.Ways.In = Queued, true, 30, 0 })},
		"code-sms-sent":      {out, with(text, func(p *Code) { p.ResendIn = 11 })},
		"code-sms-failed": {out, with(text, func(p *Code) {
			p.Delivery, p.DeliveryText, p.DeliveryDo, p.Ways.In = Failed, DeliveryRefused, DoOtherWay, 0
		})},
		"code-sms-stopped": {out, with(text, func(p *Code) {
			p.Delivery, p.DeliveryText, p.DeliveryDo, p.Ways.In = Failed, DeliveryStopped, DoChooseWay, 0
		})},
		"code-sms-unsendable": {out, with(text, func(p *Code) {
			p.Delivery, p.DeliveryText, p.DeliveryDo, p.Ways.In = Failed, DeliveryUnsendable, DoTryAgain, 0
		})},
		"code-sms-late":         {out, with(text, func(p *Code) { p.Ways.In = 0 })},
		"code-sms-limited":      {out, with(text, func(p *Code) { p.Ways.In, p.Limit, p.LimitUntil = 0, LimitPerson, in(9*time.Minute) })},
		"code-sms-unsent":       {bare, Code{Factor: SMS, Purpose: Challenge, Unsent: true, Destination: masked, Limit: LimitConversion, LimitUntil: in(20 * time.Hour), Ways: Ways{Recovery: true}}},
		"code-sms-reason":       {out, with(text, func(p *Code) { p.Delivery, p.DeliveryText = Failed, "Carrier: unknown handset (21)."; p.Ways.In = 0 })},
		"code-sms-wrong":        {out, with(text, func(p *Code) { p.ResendIn, p.Error, p.AttemptsLeft = 11, CodeWrong, 3 })},
		"code-sms-confirm":      {out, Code{Factor: SMS, Purpose: Enrollment, Destination: whole, Delivery: Sent, ResendIn: 30, Ways: Ways{In: 30, NewNumber: true, Skip: true}}},
		"code-sms-confirm-late": {out, Code{Factor: SMS, Purpose: Enrollment, Destination: whole, Delivery: Failed, DeliveryText: DeliveryOptedOut, DeliveryDo: DoOptIn, Ways: Ways{NewNumber: true, Skip: true}}},

		"recover":        {out, Recover{Factor: TOTP}},
		"recover-wrong":  {out, Recover{Factor: SMS, Error: RecoveryWrong, AttemptsLeft: 2}},
		"recover-locked": {out, Recover{Factor: SMS, LockedUntil: in(16 * time.Minute)}},
		"done":           {out, Done{Factor: TOTP, Next: "/invoices", SuggestCodes: true}},
		"done-few":       {out, Done{Factor: TOTP, Next: "/invoices", CodesLeft: 2}},
		"done-sms":       {out, Done{Factor: SMS, Next: "/invoices"}},
		"help-totp":      {out, Help{Factor: TOTP}},
		"help-sms":       {bare, Help{Factor: SMS}},

		"account": {as, home},
		"account-few": {as, with(home, func(p *Account) {
			p.Notice, p.RecoveryLeft, p.Sessions, p.OtherSessions = FactorReplaced, 2, p.Sessions[:2], 1
		})},
		"account-asked": {as, with(home, func(p *Account) {
			p.RecoveryLeft, p.RecoveryOpen = 0, true
			p.StepUp.CodeError, p.StepUp.AttemptsLeft = CodeWrong, 3
		})},
		"account-contact": {contact, with(home, func(p *Account) {
			p.Credentials, p.CanRecover, p.OtherSessions, p.Methods = nil, false, 0, []Method{ByPassword}
		})},
		"account-sms": {as, with(home, func(p *Account) {
			p.Credentials = []Credential{{Factor: SMS, Destination: masked, Since: in(-24 * time.Hour), CanReplace: true}}
			p.RecoveryMade, p.RecoveryLeft, p.StepUp, p.CanAddTOTP = false, 0, StepUpFields{Factor: SMS}, true
			p.Methods = []Method{ByPassword, BySMS}
		})},
		"account-refused": {as, with(home, func(p *Account) {
			p.Notice, p.Refused = FactorNotRemovable, true
		})},
		"account-reset": {as, with(home, func(p *Account) {
			p.Credentials, p.CanRecover, p.CanAddTOTP, p.OtherSessions, p.Methods = nil, false, true, 0, []Method{ByPassword}
			p.ResetAt, p.ResetCause = in(-48*time.Hour), ResetByOperator
		})},
		"account-fresh": {as, with(home, func(p *Account) {
			p.RecoveryMade, p.RecoveryLeft, p.StepUpNeeded, p.Methods = false, 0, false, []Method{ByProvider, ByRecovery}
		})},
		"recovery-codes": {as, codes},
		"step-up":        {as, StepUp{StepUpFields: StepUpFields{Factor: TOTP}, Why: WhySettings, Action: "/admin/settings", Carry: []Field{{"internal", "required"}}, Cancel: "/admin"}},
		"step-up-sms": {as, StepUp{
			StepUpFields: StepUpFields{Factor: SMS, Destination: masked, Delivery: Sent, ResendIn: 12, PasswordError: PasswordWrong}, Why: WhyFactor, Action: "/account/step-up",
		}},
		"step-up-paused":   {as, StepUp{StepUpFields: StepUpFields{Factor: SMS, Destination: masked, Delivery: Queued, Paused: true, ResendIn: 12}, Why: WhyFactor, Action: "/account/step-up"}},
		"step-up-portal":   {as, StepUp{StepUpFields: StepUpFields{Factor: TOTP, AtPortal: true}, Action: "/account/factors/totp"}},
		"step-up-provider": {as, StepUp{StepUpFields: StepUpFields{Factor: TOTP, Provider: &Provider{"Microsoft", "/account/step-up/with/microsoft?for=%2Fadmin"}}, Why: WhySettings, Action: "/admin/settings", Cancel: "/admin"}},
		"step-up-proved":   {as, StepUp{StepUpFields: StepUpFields{Factor: TOTP, Proved: true}, Why: WhySettings, Action: "/admin/settings", Cancel: "/admin"}},
		"step-up-limited":  {as, StepUp{StepUpFields: StepUpFields{Factor: TOTP, PasswordError: PasswordLimit, PasswordUntil: in(9 * time.Minute)}, Action: "/account/step-up"}},
		"step-up-locked":   {as, StepUp{StepUpFields: StepUpFields{Factor: TOTP, LockedUntil: in(2 * time.Minute)}, Action: "/account/step-up"}},
		"step-up-password": {as, StepUp{StepUpFields: StepUpFields{PasswordError: PasswordWrong}, Why: WhyFactor, Action: "/account/factors/totp"}},
		"enable-sms":       {contact, EnableSMS{}},
		"remove-totp":      {as, RemoveFactor{Factor: TOTP, Label: "Pixel 9"}},
		"remove-sms":       {contact, RemoveFactor{Factor: SMS}},
		"sign-out":         {as, SignOut{}},
		"door":             {out, Door{Ticket: "dt_preview"}},
		"back":             {out, Back{URL: "https://portal.northwind.test/after?sign_in=preview", Complete: true}},
		"back-again":       {out, Back{URL: "https://portal.northwind.test/after?sign_in=preview&status=relogin"}},

		"docs": {out, previewDocs()},
	}
	for status, code := range map[int]string{
		400: "invalid_request", 403: "forbidden", 404: "not_found", 405: "invalid_request", 410: "expired", 429: "rate_limited", 500: "internal", 503: "unavailable",
	} {
		wait := time.Duration(0)
		if status == 429 || status == 503 {
			wait = 30 * time.Second
		}
		all["error-"+strconv.Itoa(status)] = fixture{out, ErrorFor(status, code, "01JP4T6E8Q2V", wait)}
	}
	maps.Copy(all, previewConsole(out))
	return all
}

// with is a copy with a few fields changed.
func with[P any](p P, change func(*P)) P {
	change(&p)
	return p
}
