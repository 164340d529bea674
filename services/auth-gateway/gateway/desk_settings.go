package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
)

// askRules asks policy-svc which enrolments and skips count now, and which would under other settings.
func (d *desk) askRules(ctx context.Context, portalID string, wanted *contract.Settings) (contract.RulesReply, error) {
	return bus.Request(ctx, d.bus, contract.PolicyRules, contract.RulesRequest{Portal: portalID, Wanted: wanted})
}

// rules are the portal's settings, and what counts under them.
func (d *desk) rules(ctx context.Context, s session) (contract.RulesReply, error) {
	if err := d.master(ctx, s); err != nil {
		return contract.RulesReply{}, err
	}
	return d.askRules(ctx, s.Portal, nil)
}

// figures counts how people of one population stand under a rule: how many policy is about, how many of these have a
// factor that counts, and how many a skip that does.
type figures struct{ inScope, enrolled, skipped int64 }

// pending must enrol at their next sign-in.
func (f figures) pending(m contract.Mode) int64 {
	if m == contract.ModeOff || m == contract.ModeOptional {
		return 0
	}
	return max(0, f.inScope-f.enrolled-f.skipped)
}

func (a accounts) figures(ctx context.Context, portalID string, of contract.Audience, r contract.CountingRule) (f figures, err error) {
	count := func(more ...equality) (int64, error) {
		return a.size(ctx, append(span{{"portal", portalID}, {"population", string(of)}}, more...))
	}
	if f.inScope, err = count(); err != nil || r.Generation == 0 {
		return f, err
	}
	if f.enrolled, err = count(equality{"mirror.enrolled_in", r.Generation}); err != nil || !r.SkipsCount {
		return f, err
	}
	f.skipped, err = count(equality{"mirror.skipped_in", r.Generation}, equality{"mirror.skipped_opt_out", r.OptOutGeneration})
	return f, err
}

// overview is the portal in figures.
func (d *desk) overview(ctx context.Context, s session) (overview, error) {
	if err := d.master(ctx, s); err != nil {
		return overview{}, err
	}
	r, err := d.askRules(ctx, s.Portal, nil)
	if err != nil {
		return overview{}, err
	}
	locked, err := d.accounts.within(ctx, span{{"portal", s.Portal}, {"mirror.locked", true}}, bounds{field: "email"}, 1000)
	if err != nil {
		return overview{}, err
	}
	out := overview{Settings: r.Settings}
	for a, to := range map[contract.Audience]*population{contract.Internal: &out.Internal, contract.Organization: &out.Organizations} {
		rule := r.Now.Of(a)
		f, err := d.accounts.figures(ctx, s.Portal, a, rule)
		if err != nil {
			return overview{}, err
		}
		*to = population{Mode: rule.Mode, Users: f.inScope, Enrolled: f.enrolled, Skipped: f.skipped, WillEnroll: f.pending(rule.Mode)}
		if to.Federated, err = d.accounts.size(ctx, span{{"portal", s.Portal}, {"population", string(a) + federatedPart}}); err != nil {
			return overview{}, err
		}
		if to.Disabled, err = d.accounts.size(ctx, span{{"portal", s.Portal}, {"population", string(a) + disabledPart}}); err != nil {
			return overview{}, err
		}
		see := sight{s.Portal, r.Now, d.now()}
		for _, u := range locked {
			if u.Audience == a && see.locked(u) {
				to.Locked++
			}
		}
	}
	return out, nil
}

// preview says whom a change of settings would hit (B10).
func (d *desk) preview(ctx context.Context, s session, wanted contract.Settings) (preview, error) {
	if err := d.master(ctx, s); err != nil {
		return preview{}, err
	}
	r, err := d.askRules(ctx, s.Portal, &wanted)
	if err != nil {
		return preview{}, err
	}
	out := preview{Warnings: []warning{}}
	for _, a := range audiences("") {
		now, after := r.Now.Of(a), r.After.Of(a)
		was, err := d.accounts.figures(ctx, s.Portal, a, now)
		if err != nil {
			return preview{}, err
		}
		is, err := d.accounts.figures(ctx, s.Portal, a, after)
		if err != nil {
			return preview{}, err
		}
		h := hit{InScope: is.inScope, WillEnroll: is.pending(after.Mode), Skipped: is.skipped}
		if a == contract.Internal {
			out.Internal = h
		} else {
			out.Organizations = h
		}
		out.Warnings = append(out.Warnings, changes(a, now, after, was, is)...)
	}
	admins, err := d.accounts.masters(ctx, s.Portal, 1000)
	if err != nil {
		return preview{}, err
	}
	out.Warnings = append(adminsHit(admins, s.User, sight{s.Portal, r.After, d.now()}), out.Warnings...)
	return out, nil
}

// changes are the warnings of one population.
func changes(a contract.Audience, now, after contract.CountingRule, was, is figures) []warning {
	whose, out := "internal users", []warning(nil)
	if a == contract.Organization {
		whose = "contacts of organizations"
	}
	add := func(code, format string, args ...any) {
		out = append(out, warning{code, fmt.Sprintf(format, args...)})
	}
	if after.Mode == contract.ModeOff && now.Mode != contract.ModeOff && is.inScope > 0 {
		add(warnSwitchedOff, "%s will sign in with a password alone. When you switch it on again, everybody enrols anew.", people(is.inScope, whose))
	}
	if after.Generation != now.Generation && was.enrolled > 0 {
		add(warnReEnrol, "Everybody enrols again: the second factor of %s, set up before it was switched off, no longer counts.", people(was.enrolled, whose))
	}
	if was.skipped > 0 && is.skipped == 0 && after.Mode != contract.ModeOff {
		add(warnSkipsForgotten, "%s chose \"Skip for now\". That is forgotten.", people(was.skipped, whose))
	}
	return out
}

// people counts people in words.
func people(n int64, whose string) string {
	if n == 1 {
		whose = map[string]string{"internal users": "internal user", "contacts of organizations": "contact of an organization", "Master Admins": "Master Admin"}[whose]
	}
	return fmt.Sprintf("%d %s", n, whose)
}

// adminsHit are the warnings about Master Admins.
func adminsHit(all []user, self string, after sight) []warning {
	if m := after.rules.Internal.Mode; m == contract.ModeOff || m == contract.ModeOptional {
		return nil
	}
	var (
		out   []warning
		hit   []string
		you   bool
		count int
	)
	for _, u := range all {
		if !u.reachable() {
			continue
		}
		count++
		if after.standing(u) == contract.NotEnrolled {
			hit = append(hit, u.Name)
			you = you || u.User == self
		}
	}
	if len(hit) > 0 {
		out = append(out, warning{warnAdminsEnroll, fmt.Sprintf("%s must enrol at the next sign-in: %s.", people(int64(len(hit)), "Master Admins"), some(hit, 5))})
	}
	if you {
		out = append(out, warning{warnYouEnroll, "You are among them: at your next sign-in you enrol yourself."})
	}
	if count == 1 {
		out = append(out, warning{warnOnlyAdmin, "There is only one Master Admin who can sign in. If that person loses the second factor, only an operator at the console can help. Make somebody else Master Admin, too."})
	}
	return out
}

// some lists the first of many.
func some(names []string, most int) string {
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// change replaces the portal's settings: after a step-up (B07), by an admin who has a second factor of their own (B08).
func (d *desk) change(ctx context.Context, s session, wanted contract.Settings) (contract.Settings, error) {
	if err := d.master(ctx, s); err != nil {
		return contract.Settings{}, err
	}
	if !s.steppedUp(d.now()) {
		return contract.Settings{}, errStepUp
	}
	own, err := bus.Request(ctx, d.bus, contract.PolicyDecide, s.Who.decideRequest(s.Portal))
	if err != nil {
		return contract.Settings{}, err
	}
	if !slices.Contains([]contract.Standing{contract.Enrolled, contract.Exempt}, own.Standing) {
		return contract.Settings{}, contract.Refuse(contract.Forbidden, "Set up your own second factor first; then you can switch it for others.")
	}
	return bus.Request(ctx, d.bus, contract.PolicyChange, contract.ChangeRequest{Portal: s.Portal, Actor: s.User, Settings: wanted})
}
