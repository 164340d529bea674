package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/pquerna/otp"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// SignIn is a sign-in as its client sees it. Fields that say nothing are absent.
type SignIn struct {
	ID           string        `json:"id" example:"3QXK5TZ2W7VYB4M6R2NDSPLJHA" doc:"Names the sign-in. It is no secret."`
	Token        string        `json:"token,omitempty" doc:"Proves that the password was right; given once, by the call that began the sign-in. All other calls of the sign-in carry it as Authorization: Bearer."`
	Status       string        `json:"status" enum:"enroll,challenge,relogin,complete" doc:"What comes next: enrol a factor, type a code, sign in again, or nothing."`
	Factor       string        `json:"factor,omitempty" enum:"totp,sms" doc:"The factor to enrol or to ask for."`
	CanSkip      bool          `json:"can_skip,omitempty" doc:"Enrolment may be declined."`
	Destination  string        `json:"destination,omitempty" example:"xxx-xxx-9443" doc:"Where the text message goes; only the last digits are shown."`
	ResendIn     *int          `json:"resend_in,omitempty" example:"11" doc:"Seconds until a new text message may be asked for."`
	Delivery     string        `json:"delivery,omitempty" enum:"queued,sent,failed" doc:"How far the text message is."`
	Paused       bool          `json:"delivery_paused,omitempty" doc:"Nothing is sent for now, to nobody: the text message is queued, and goes out by itself unless its code expires first. It is nothing that the person did."`
	Reason       string        `json:"delivery_reason,omitempty" enum:"invalid_number,opted_out,expired,superseded,carrier,stopped,unsendable" doc:"Why the text message failed."`
	OtherWays    []OtherWay    `json:"other_ways,omitempty" enum:"recovery_code,new_number,skip,support" doc:"What else the person can do, from 30 seconds after a text message was asked for, and at once when it failed, nothing is sent for now, or a limit refuses another: spend a recovery code, give another number, decline, or ask whom the portal names."`
	AttemptsLeft *int          `json:"attempts_left,omitempty" doc:"How many wrong codes are left before a lock, while a code is waited for: 0 where only a recovery code or a reset helps. Absent while the factor is locked for a time, and where it is not known."`
	LockedUntil  *time.Time    `json:"locked_until,omitempty" doc:"No code is taken before."`
	CodesLeft    *int          `json:"recovery_codes_left,omitempty" doc:"How many recovery codes are left after one was spent in this sign-in."`
	Reset        *Reset        `json:"reset,omitempty" doc:"Why a factor must be enrolled again, where somebody else saw to that."`
	ExpiresAt    time.Time     `json:"expires_at" doc:"When the sign-in ends by itself."`
	Session      *SessionToken `json:"session,omitempty" doc:"The session, given once, by the call that completed the sign-in."`
	URL          string        `json:"url,omitempty" doc:"Where to send the person's browser, within a minute; it works once (portal door)."`
	RedeemedAt   *time.Time    `json:"redeemed_at,omitempty" doc:"When the portal redeemed the sign-in (portal door)."`
}

// SessionToken is a new session.
type SessionToken struct {
	Token     string    `json:"token" doc:"Carry it as Authorization: Bearer."`
	ExpiresAt time.Time `json:"expires_at"`
}

// view is what a client may see of an outcome.
func (g *gateway) view(o outcome) SignIn {
	v := SignIn{ID: o.ID, Status: string(o.Status), ExpiresAt: o.ExpiresAt, AttemptsLeft: o.attemptsLeft, LockedUntil: o.lockedUntil, CodesLeft: o.CodesLeft}
	if o.Status == StatusEnroll || o.Status == StatusChallenge {
		v.Factor, v.CanSkip, v.Reset = string(o.Factor), o.CanSkip && o.Status == StatusEnroll, resetOf(o.Reset)
		if o.Factor == contract.FactorSMS && (o.Challenge != "" || o.Status == StatusChallenge) {
			v.Destination, v.Delivery, v.Paused, v.Reason = o.Destination, string(o.delivery), o.paused, string(o.reason)
			in := g.resendIn(o.ResendAt)
			v.ResendIn = &in
		}
		if ways, in := otherWays(o, g.now()); in == 0 {
			v.OtherWays = ways
		}
	}
	if o.Door != nil && !o.Door.RedeemedAt.IsZero() {
		v.RedeemedAt = &o.Door.RedeemedAt
	}
	if o.session != nil {
		v.Session = &SessionToken{Token: o.token.Reveal(), ExpiresAt: o.session.ExpiresAt}
	}
	return v
}

// resendIn is the wait until a time in whole seconds, rounded up.
func (g *gateway) resendIn(at time.Time) int {
	if wait := at.Sub(g.now()); wait > 0 {
		return contract.Seconds(wait)
	}
	return 0
}

type signInAnswer struct{ Body SignIn }

type beginRequest struct {
	Body struct {
		Email    string        `json:"email,omitempty" maxLength:"254" example:"agent@demo.test" doc:"The address of the account; case does not matter."`
		Password secret.String `json:"password,omitempty" maxLength:"256" doc:"The password of the account."`
		AtDoor
	}
}

func (g *gateway) apiBegin(ctx context.Context, in *beginRequest) (*signInAnswer, error) {
	p, err := g.portal(ctx)
	if err != nil {
		return nil, err
	}
	if k, ok := presented(ctx); ok || in.Body.ofDoor() {
		return g.apiBeginAtDoor(ctx, p, k, in)
	}
	o, token, err := g.flow.begin(ctx, p, in.Body.Email, in.Body.Password, "")
	if err != nil {
		return nil, err
	}
	v := g.view(g.flow.count(ctx, o))
	v.Token = token.Reveal()
	return &signInAnswer{v}, nil
}

// SignInPath names the sign-in that a request is about. It is exported because huma looks past fields that are not.
type SignInPath struct {
	ID string `path:"id" maxLength:"64" doc:"The id of the sign-in."`
}

func (g *gateway) apiSignIn(ctx context.Context, in *SignInPath) (*signInAnswer, error) {
	if k, ok := presented(ctx); ok {
		s, _, err := g.door.of(ctx, k, in.ID)
		if err != nil {
			return nil, err
		}
		return g.answer(g.flow.look(ctx, s))
	}
	s, _, err := g.flow.load(ctx, in.ID, bearer(ctx))
	if err != nil {
		return nil, err
	}
	return g.answer(g.flow.look(ctx, s))
}

func (g *gateway) answer(o outcome, err error) (*signInAnswer, error) {
	if err != nil {
		return nil, err
	}
	return &signInAnswer{g.view(o)}, nil
}

type enrollRequest struct {
	SignInPath
	Body struct {
		Factor string `json:"factor" enum:"totp,sms" doc:"The factor that the sign-in asks for."`
		Phone  string `json:"phone,omitempty" maxLength:"64" example:"+1 701 555 9443" doc:"A mobile number in any usual way of writing it (sms only)."`
	}
}

// Enrollment is what is needed to enrol a factor.
type Enrollment struct {
	Factor      string `json:"factor" enum:"totp,sms"`
	OtpauthURI  string `json:"otpauth_uri,omitempty" doc:"The key URI that an authenticator app reads (totp). Shown only until the factor is confirmed."`
	Key         string `json:"key,omitempty" doc:"The same secret for typing, in base32 (totp)."`
	QRPNG       string `json:"qr_png,omitempty" doc:"The key URI as a QR code: a PNG in base64 (totp)."`
	Destination string `json:"destination,omitempty" doc:"Where the code goes; only the last digits are shown (sms)."`
	ResendIn    *int   `json:"resend_in,omitempty" doc:"Seconds until a new code may be asked for (sms)."`
}

type enrollAnswer struct{ Body Enrollment }

func (g *gateway) apiEnroll(ctx context.Context, in *enrollRequest) (*enrollAnswer, error) {
	p, err := g.portal(ctx)
	if err != nil {
		return nil, err
	}
	if in.Body.Factor == string(contract.FactorSMS) {
		o, err := g.flow.startSMS(ctx, p, in.ID, bearer(ctx), in.Body.Phone)
		if err != nil {
			return nil, err
		}
		wait := g.resendIn(o.ResendAt)
		return &enrollAnswer{Enrollment{Factor: in.Body.Factor, Destination: o.Destination, ResendIn: &wait}}, nil
	}
	_, seed, err := g.flow.startTOTP(ctx, p, in.ID, bearer(ctx))
	if err != nil {
		return nil, err
	}
	return totpAnswer(seed)
}

// qrSize is the edge of the QR code in pixels: crisp at the size of the page on a display of double density.
const qrSize = 368

// qrPNG draws a key URI as a QR code.
func qrPNG(uri secret.String) ([]byte, error) {
	key, err := otp.NewKeyFromURL(uri.Reveal())
	if err != nil {
		return nil, errInternal("the key URI does not parse")
	}
	img, err := key.Image(qrSize, qrSize)
	if err != nil {
		return nil, errInternal("the QR code cannot be drawn")
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, errInternal("the QR code cannot be written")
	}
	return out.Bytes(), nil
}

type confirmRequest struct {
	SignInPath
	Body struct {
		Code  secret.String `json:"code" maxLength:"64" doc:"Six digits; spaces and dashes between them do not matter."`
		Label string        `json:"label,omitempty" maxLength:"64" example:"Pixel 9" doc:"A name for the device (totp)."`
	}
}

func (g *gateway) apiConfirm(ctx context.Context, in *confirmRequest) (*signInAnswer, error) {
	p, err := g.portal(ctx)
	if err != nil {
		return nil, err
	}
	return g.answer(g.flow.confirm(ctx, p, in.ID, bearer(ctx), in.Body.Code, in.Body.Label))
}

func (g *gateway) apiSkip(ctx context.Context, in *SignInPath) (*signInAnswer, error) {
	return g.answer(g.flow.skip(ctx, in.ID, bearer(ctx)))
}

func (g *gateway) apiResend(ctx context.Context, in *SignInPath) (*signInAnswer, error) {
	p, err := g.portal(ctx)
	if err != nil {
		return nil, err
	}
	return g.answer(g.flow.resend(ctx, p, in.ID, bearer(ctx)))
}

type verifyRequest struct {
	SignInPath
	Body struct {
		Code secret.String `json:"code" maxLength:"64" doc:"Six digits; spaces and dashes between them do not matter."`
	}
}

func (g *gateway) apiVerify(ctx context.Context, in *verifyRequest) (*signInAnswer, error) {
	return g.answer(g.flow.verify(ctx, in.ID, bearer(ctx), in.Body.Code))
}

type recoverRequest struct {
	SignInPath
	Body struct {
		Code secret.String `json:"recovery_code" maxLength:"64" doc:"One of the recovery codes; case, spaces and dashes do not matter."`
	}
}

func (g *gateway) apiRecover(ctx context.Context, in *recoverRequest) (*signInAnswer, error) {
	return g.answer(g.flow.recoverWith(ctx, in.ID, bearer(ctx), in.Body.Code))
}

// User is a person as clients see them.
type User struct {
	ID                string     `json:"id"`
	Email             string     `json:"email"`
	Name              string     `json:"name"`
	Audience          string     `json:"audience" enum:"internal,organization"`
	Organization      string     `json:"organization,omitempty"`
	MasterAdmin       bool       `json:"master_admin"`
	OrganizationAdmin bool       `json:"organization_admin"`
	Federated         bool       `json:"federated"`
	Standing          string     `json:"standing,omitempty" enum:"not_enrolled,enrolled,skipped,exempt" doc:"Where the person stands with the second factor, where it was asked."`
	Factors           []Factor   `json:"factors,omitzero" required:"false" doc:"Absent where it was not asked; empty for who has none."`
	LockedUntil       *time.Time `json:"locked_until,omitempty" doc:"The factor takes no code before."`
	LastSignInAt      *time.Time `json:"last_sign_in_at,omitempty" doc:"Absent for who has never signed in, and where it was not asked."`
}

// Factor is an enrolled factor.
type Factor struct {
	Factor      string    `json:"factor" enum:"totp,sms"`
	Label       string    `json:"label,omitempty"`
	Since       time.Time `json:"since"`
	Destination string    `json:"destination,omitempty" example:"xxx-xxx-9443" doc:"Where the text messages go; only the last digits are shown (sms, on your own account and where an admin looks at one person)."`
}

func userOf(p profile) User {
	return User{
		ID: p.ID, Email: p.Email, Name: p.Name, Audience: string(p.Audience), Organization: p.Organization,
		MasterAdmin: p.MasterAdmin, OrganizationAdmin: p.OrganizationAdmin, Federated: p.Federated,
	}
}

// Session tells who is signed in, how and until when.
type Session struct {
	User      User      `json:"user"`
	Methods   []string  `json:"amr" example:"[\"pwd\",\"otp\"]" doc:"How the person proved who they are (RFC 8176)."`
	AuthTime  time.Time `json:"auth_time" doc:"When they did."`
	ExpiresAt time.Time `json:"expires_at" doc:"When the session ends at the latest; half an hour without use ends it as well."`
}

// answerSession says who is signed in: the answer was made when the session was written.
func (g *gateway) answerSession(c *fiber.Ctx) error {
	h, err := g.sessions.find(c.UserContext(), bearerOf(c.Get(fiber.HeaderAuthorization)))
	if err == nil {
		err = g.ofThisPortal(c.UserContext(), h.session)
	}
	if err != nil {
		return err
	}
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	return c.Send(h.answer)
}

// sessionJSON is the answer of [gateway.answerSession].
func sessionJSON(s session) []byte {
	raw, err := json.Marshal(Session{User: userOf(s.Who), Methods: s.Methods, AuthTime: s.AuthTime, ExpiresAt: s.ExpiresAt})
	if err != nil {
		panic(err) // strings, booleans and times always encode
	}
	return raw
}

func (g *gateway) apiSignOut(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, g.sessions.end(ctx, sessionOf(ctx).ID)
}

type stepUpRequest struct {
	Body struct {
		Password secret.String `json:"password" maxLength:"256" doc:"The password of the account."`
		Code     secret.String `json:"code,omitempty" maxLength:"64" doc:"A current code: from the authenticator app, or the one that step-up/send has texted. Who has no second factor needs none."`
	}
}

func (g *gateway) apiStepUp(ctx context.Context, in *stepUpRequest) (*struct{}, error) {
	_, err := g.stepUp(ctx, sessionOf(ctx), in.Body.Password, in.Body.Code)
	return nil, err
}

// Texted is where a code went.
type Texted struct {
	Destination string `json:"destination" example:"xxx-xxx-9443"`
	ResendIn    int    `json:"resend_in" example:"30" doc:"Seconds until a new code may be asked for."`
}

type textedAnswer struct{ Body Texted }

func (g *gateway) apiStepUpSend(ctx context.Context, _ *struct{}) (*textedAnswer, error) {
	r, err := g.stepUpSend(ctx, sessionOf(ctx))
	if err != nil {
		return nil, err
	}
	return &textedAnswer{Texted{Destination: r.Destination, ResendIn: g.resendIn(r.ResendAt)}}, nil
}

// Account is the signed-in person's own view of their second factor.
type Account struct {
	User              User     `json:"user"`
	Factors           []Factor `json:"factors"`
	RecoveryCodesLeft int      `json:"recovery_codes_left"`
	MayEnroll         bool     `json:"may_enroll" doc:"You may set up a factor, or replace yours."`
	MayRemove         bool     `json:"may_remove" doc:"You may remove your factor."`
	Reset             *Reset   `json:"reset,omitempty" doc:"Your second factor was reset, and you have not set it up again."`
	// Session takes the place of the one that confirmed a new authenticator.
	Session *SessionToken `json:"session,omitempty" doc:"Your session from now on, given once by the call that confirmed a new authenticator; the token of that call is dead."`
}

// Reset is why a person must enrol again.
type Reset struct {
	At    time.Time `json:"at"`
	Cause string    `json:"cause" enum:"admin,operator" doc:"Who did it: an administrator of the portal or organization, or the operator."`
}

func resetOf(n *contract.ResetNote) *Reset {
	if n == nil {
		return nil
	}
	return &Reset{At: n.At, Cause: string(n.Cause)}
}

type accountAnswer struct{ Body Account }

func (g *gateway) apiAccount(ctx context.Context, _ *struct{}) (*accountAnswer, error) {
	a, err := g.accountOf(ctx, sessionOf(ctx))
	return &accountAnswer{a}, err
}

func (g *gateway) accountOf(ctx context.Context, s session) (Account, error) {
	d, left, err := g.accountState(ctx, s)
	if err != nil {
		return Account{}, err
	}
	a := Account{User: userOf(s.Who), Factors: factorsOf(d), RecoveryCodesLeft: left, MayEnroll: d.MayEnroll, MayRemove: d.MayRemove, Reset: resetOf(toldReset(d))}
	for i, f := range a.Factors {
		if f.Factor != string(contract.FactorSMS) {
			continue
		}
		r, err := bus.Request(ctx, g.svc.Bus, contract.SMSStatus, contract.SMSStatusRequest{Account: s.account()})
		if contract.CodeOf(err) == contract.Unavailable {
			continue // the rest is known without it
		}
		if err != nil {
			return Account{}, err
		}
		a.Factors[i].Destination = r.Destination
	}
	a.User.Standing, a.User.Factors = string(d.Standing), a.Factors
	return a, nil
}

func factorsOf(d contract.Decision) []Factor {
	out := []Factor{}
	for _, i := range d.Factors {
		out = append(out, Factor{Factor: string(i.Factor), Label: i.Label, Since: i.Since})
	}
	return out
}

type codesAnswer struct {
	Body struct {
		Codes []string `json:"codes" minItems:"10" maxItems:"10" doc:"Ten recovery codes, shown this once. All earlier ones are dead."`
	}
}

func (g *gateway) apiRecoveryCodes(ctx context.Context, _ *struct{}) (*codesAnswer, error) {
	codes, err := g.newRecoveryCodes(ctx, sessionOf(ctx))
	if err != nil {
		return nil, err
	}
	out := &codesAnswer{}
	out.Body.Codes = codes
	return out, nil
}

func errInternal(why string) error { return &internalError{why} }

// internalError is a fault of ours: logged, shown to nobody.
type internalError struct{ why string }

func (e *internalError) Error() string { return e.why }
