package gateway

import (
	"context"
	"encoding/base64"
	"log/slog"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/trace"
)

// This file is the JSON API of a person's own factors and sessions.

func (g *gateway) apiBeginTOTP(ctx context.Context, _ *struct{}) (*enrollAnswer, error) {
	shown, err := g.beginTOTP(ctx, sessionOf(ctx))
	if err != nil {
		return nil, err
	}
	return totpAnswer(shown)
}

// totpAnswer shows the secret of an authenticator.
func totpAnswer(shown seed) (*enrollAnswer, error) {
	picture, err := qrPNG(shown.uri)
	if err != nil {
		return nil, err
	}
	return &enrollAnswer{Enrollment{
		Factor: string(contract.FactorTOTP), OtpauthURI: shown.uri.Reveal(), Key: shown.key.Reveal(), QRPNG: base64.StdEncoding.EncodeToString(picture),
	}}, nil
}

type confirmTOTPRequest struct {
	Body struct {
		Code  secret.String `json:"code" maxLength:"64" doc:"Six digits; spaces and dashes between them do not matter."`
		Label string        `json:"label,omitempty" maxLength:"64" example:"Pixel 9" doc:"A name for the device."`
	}
}

func (g *gateway) apiConfirmTOTP(ctx context.Context, in *confirmTOTPRequest) (*accountAnswer, error) {
	s, token, err := g.confirmTOTP(ctx, sessionOf(ctx), in.Body.Code, in.Body.Label)
	if err != nil {
		return nil, err
	}
	out, err := g.accountOf(ctx, s)
	if err != nil {
		// The old token is dead: who does not get the new one has done it all for nothing.
		g.svc.Log.Warn("account not read after an authenticator was confirmed", slog.String("request_id", requestID(ctx)), trace.Attr(ctx), slog.Any("error", err))
		out = Account{User: userOf(s.Who), Factors: []Factor{}}
	}
	out.Session = &SessionToken{Token: token.Reveal(), ExpiresAt: s.ExpiresAt}
	return &accountAnswer{out}, nil
}

// FactorPath names one of a person's factors. It is exported because huma looks past fields that are not.
type FactorPath struct {
	Factor string `path:"factor" enum:"totp,sms" doc:"The factor."`
}

type renameRequest struct {
	FactorPath
	Body struct {
		Label string `json:"label" maxLength:"64" example:"Pixel 9" doc:"A name for the device; empty for none."`
	}
}

func (g *gateway) apiRenameFactor(ctx context.Context, in *renameRequest) (*struct{}, error) {
	return nil, g.renameFactor(ctx, sessionOf(ctx), contract.Factor(in.Factor), in.Body.Label)
}

func (g *gateway) apiRemoveFactor(ctx context.Context, in *FactorPath) (*struct{}, error) {
	return nil, g.removeFactor(ctx, sessionOf(ctx), contract.Factor(in.Factor))
}

func (g *gateway) apiEnableSMS(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, g.enableSMS(ctx, sessionOf(ctx))
}

// OwnSession is one of a person's live sessions, without what would open it.
type OwnSession struct {
	ID         string    `json:"id"`
	Current    bool      `json:"current" doc:"The one of this request."`
	Device     string    `json:"device,omitempty" example:"Firefox on Windows" doc:"From where it was begun, as far as that can be named."`
	Network    string    `json:"network,omitempty" example:"203.0.113.0/24" doc:"The network of the address."`
	Methods    []string  `json:"amr" example:"[\"pwd\",\"otp\"]" doc:"How the person proved who they are (RFC 8176)."`
	AuthTime   time.Time `json:"auth_time"`
	LastSeenAt time.Time `json:"last_seen_at" doc:"The last use, to the minute."`
	ExpiresAt  time.Time `json:"expires_at"`
}

type ownSessionsAnswer struct {
	Body struct {
		Items []OwnSession `json:"items" doc:"The newest first."`
	}
}

func (g *gateway) apiOwnSessions(ctx context.Context, _ *struct{}) (*ownSessionsAnswer, error) {
	own := sessionOf(ctx)
	out := &ownSessionsAnswer{}
	out.Body.Items = []OwnSession{}
	for _, s := range g.sessions.list(own.account()) {
		out.Body.Items = append(out.Body.Items, OwnSession{
			ID: s.ID, Current: s.ID == own.ID, Device: s.Device.words(), Network: s.Device.Network, Methods: s.Methods,
			AuthTime: s.AuthTime, LastSeenAt: s.SeenAt, ExpiresAt: s.ExpiresAt,
		})
	}
	return out, nil
}

// SessionPath names one of a person's sessions.
type SessionPath struct {
	ID string `path:"id" maxLength:"64" doc:"The id of the session."`
}

func (g *gateway) apiEndOwnSession(ctx context.Context, in *SessionPath) (*struct{}, error) {
	return nil, g.sessions.endOwn(ctx, sessionOf(ctx).account(), in.ID)
}

func (g *gateway) apiEndOtherSessions(ctx context.Context, _ *struct{}) (*struct{}, error) {
	s := sessionOf(ctx)
	return nil, g.sessions.endOthers(ctx, s.account(), s.ID)
}
