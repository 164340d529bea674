package gateway

import (
	"context"
	"log/slog"
	"strings"

	"sallyport/pkg/contract"
	"sallyport/pkg/trace"
)

// This file holds what the log says of who came in and who did not: ids, ways and networks, never a name, an address or
// anything that was typed. The audit log is of changes; sign-ins are here, for whoever has to tell afterwards what was
// tried.

// whoAndWhence are the attributes of every such line.
func whoAndWhence(ctx context.Context, who contract.Account) []any {
	return []any{slog.String("request_id", requestID(ctx)), trace.Attr(ctx), slog.String("portal", who.Portal), slog.String("user", who.User), slog.String("network", networkIn(ctx))}
}

// noteSession says that somebody is in.
func noteSession(ctx context.Context, log *slog.Logger, v session) {
	log.InfoContext(ctx, "session opened", append(whoAndWhence(ctx, v.account()), slog.String("methods", strings.Join(v.Methods, " ")))...)
}

// notePassword says that a password was not right, or was not looked at. The address that was typed stands there as the
// hash under which its tries are counted: it may be nobody's.
func notePassword(ctx context.Context, log *slog.Logger, g guess, result tried) {
	log.InfoContext(ctx, "password refused", slog.String("request_id", requestID(ctx)), trace.Attr(ctx), slog.String("portal", g.portal),
		slog.String("address_hash", g.subject()), slog.String("network", g.network), slog.String("result", string(result)))
}

// noteCode says that a code did not open anything, and returns the refusal.
func noteCode(ctx context.Context, log *slog.Logger, who contract.Account, method string, err error) error {
	switch code := contract.CodeOf(err); code { //nolint:exhaustive // every other error is no guess
	case contract.InvalidCode, contract.Locked, contract.Expired:
		if err != nil {
			log.InfoContext(ctx, "code refused", append(whoAndWhence(ctx, who), slog.String("method", method), slog.String("result", string(code)))...)
		}
	}
	return err
}

// passing is who passed the portal door, as far as it is known: ids, and no part of a key or a ticket that is secret.
type passing struct{ portal, app, key, signIn, user string }

// notePassage says who was refused at the portal door, and what was redeemed. Who was let in has a line as a session.
func notePassage(ctx context.Context, log *slog.Logger, what passage, at passing, err error) {
	level, result := slog.LevelInfo, "done"
	switch what {
	case passBegun, passEntered, passFault:
		return
	case passBadKey:
		level = slog.LevelWarn
	case passTurned, passLate, passRedeemed, passUnproved:
	}
	if err != nil {
		result = string(contract.CodeOf(err))
	}
	log.Log(ctx, level, "at the portal door", slog.String("event", string(what)), slog.String("request_id", requestID(ctx)), trace.Attr(ctx), slog.String("portal", at.portal), slog.String("app", at.app), slog.String("api_key", at.key),
		slog.String("sign_in", at.signIn), slog.String("user", at.user), slog.String("network", networkIn(ctx)), slog.String("result", result))
}

// noteRefusal says that somebody who is signed in reached for what is not theirs.
func noteRefusal(ctx context.Context, log *slog.Logger, s session, what string) {
	log.WarnContext(ctx, "access refused", append(whoAndWhence(ctx, s.account()), slog.String("to", what))...)
}
