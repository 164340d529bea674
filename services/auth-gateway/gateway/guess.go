package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/meter"
	"sallyport/pkg/store"
)

// guesses limits how many passwords may be tried for one account, and from one network, over all doors. A try is
// counted before it is judged, in a write of its own, and given back when it was right: however many come at once, on
// however many gateways, no more are judged than the limit allows.
//
// Nobody can use that to keep a person out. From a network where the right password of an account was typed before (a
// home of it), only what is typed there for this account counts, not what others do elsewhere.
//
// Which address has an account makes no difference: the limits are those of addresses.
type guesses struct {
	records  guessRecords
	limits   guessLimits
	accounts accounts
	bus      *bus.Bus
	now      func() time.Time
	log      *slog.Logger
	tried    *prometheus.CounterVec
	chores   *chores
	lines    *lines
}

// guessLimits are the limits on passwords that were not right.
type guessLimits struct {
	// Account holds for an address: for all who come from elsewhere together, and for each of its homes.
	Account meter.Limits
	// Network holds for all who come from one network, for addresses of which it is no home.
	Network meter.Limits
}

// limits reads the settings, and says what is wrong with them.
func (s *Settings) limits() (l guessLimits, problems []string) {
	for _, one := range []struct {
		name, text string
		to         *meter.Limits
	}{{"PASSWORD_LIMIT_ACCOUNT", s.PasswordLimitAccount, &l.Account}, {"PASSWORD_LIMIT_NETWORK", s.PasswordLimitNetwork, &l.Network}} {
		var err error
		if *one.to, err = meter.Parse(one.text); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", one.name, err))
		}
	}
	return l, problems
}

// tried is how a try ended: the labels of a metric.
type tried string

const (
	triedRight          tried = "right"
	triedWrong          tried = "wrong"
	triedUnjudged       tried = "unjudged" // a part did not answer
	triedAccountLimited tried = "account_limited"
	triedNetworkLimited tried = "network_limited"
)

func newGuesses(records guessRecords, l guessLimits, a accounts, b *bus.Bus, now func() time.Time, log *slog.Logger, r prometheus.Registerer) *guesses {
	g := &guesses{
		records: records, limits: l, accounts: a, bus: b, now: now, log: log, chores: newChores(records, log), lines: newLines(),
		tried: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_gateway_password_guesses_total", Help: "Passwords that were tried, at sign-in and in a step-up, by how it ended.",
		}, []string{"result"}),
	}
	r.MustRegister(g.tried)
	for _, t := range []tried{triedRight, triedWrong, triedUnjudged, triedAccountLimited, triedNetworkLimited} {
		g.tried.WithLabelValues(string(t))
	}
	return g
}

// guess is one password that was counted.
type guess struct {
	portal, address string
	network         string // "" where it is not known
	at              time.Time
	// home is set where it came from a home of the address; then nothing else has counted it. The right password came
	// from there at lately.
	home   bool
	lately time.Time
}

// subject is the address as it stands in names of documents: hashed, because what is typed there may be anything.
func (g guess) subject() string {
	sum := sha256.Sum256([]byte(g.address))
	return hex.EncodeToString(sum[:16])
}

// mark is the name of the network among the homes of an address.
func (g guess) mark() string { return markOf(g.network) }

func markOf(network string) string {
	sum := sha256.Sum256([]byte(network))
	return "n" + hex.EncodeToString(sum[:8])
}

func (g guess) homesID() string   { return g.portal + "/" + g.subject() }
func (g guess) accountID() string { return g.portal + "/account/" + g.subject() }
func (g guess) networkID() string { return g.portal + "/network/" + g.network }

// try has a password judged for a canonical address, if not too many were tried of late. What is not judged, and what is
// right, counts no more.
func (g *guesses) try(ctx context.Context, portalID, address string, judge func() (right bool, err error)) (bool, error) {
	one := guess{portal: portalID, address: address, network: networkIn(ctx)}
	line := one.homesID() + " " + one.network
	if err := g.lines.enter(ctx, line); err != nil {
		return false, err
	}
	defer g.lines.leave(line)
	one.at = g.now()
	if err := g.count(ctx, &one); err != nil {
		return false, err
	}
	right, err := judge()
	result := triedWrong
	switch {
	case err != nil:
		result = triedUnjudged
		g.back(one)
	case right:
		result = triedRight
		g.right(one)
	}
	if result != triedWrong && g.lines.waiting(line) {
		g.chores.settle(ctx) // whoever comes next must not find it counted
	}
	g.tried.WithLabelValues(string(result)).Inc()
	if result == triedWrong {
		notePassword(ctx, g.log, one, result)
	}
	return right, err
}

// count counts a try, or refuses it: then it counts nowhere.
func (g *guesses) count(ctx context.Context, one *guess) error {
	if g.hasHomes(*one) {
		h, known, err := g.records.countHome(ctx, one.homesID(), one.mark(), g.limits.Account, one.at)
		if err != nil {
			return err // whether it was counted is not known: at worst it counts until its window is over
		}
		if known {
			one.home, one.lately = true, h.At
			g.prune(one.homesID()+" "+one.mark(), h.Counts, one.at, func(ctx context.Context) error {
				return g.records.pruneHome(ctx, one.homesID(), one.mark(), h, one.at)
			})
			return g.allow(ctx, *one, h.Counts, h.Told)
		}
	}
	// The network comes first: what it is refused leaves no trace of the many addresses that are tried.
	if g.hasNetwork(*one) {
		m, err := g.records.meters.Count(ctx, one.networkID(), g.limits.Network, one.at)
		if err != nil {
			return err
		}
		g.prune(m.ID, m.Counts, one.at, func(ctx context.Context) error { return g.records.meters.Prune(ctx, m, one.at) })
		if _, free, reached := m.Counts.Reached(g.limits.Network, one.at); reached {
			g.chores.giveBack(one.networkID(), "", g.limits.Network, one.at)
			g.tried.WithLabelValues(string(triedNetworkLimited)).Inc()
			notePassword(ctx, g.log, *one, triedNetworkLimited)
			return overGuesses(contract.LimitPasswordNetwork, free.Sub(one.at))
		}
	}
	if len(g.limits.Account) == 0 {
		return nil
	}
	m, err := g.records.meters.Count(ctx, one.accountID(), g.limits.Account, one.at)
	if err != nil {
		return err
	}
	g.prune(m.ID, m.Counts, one.at, func(ctx context.Context) error { return g.records.meters.Prune(ctx, m, one.at) })
	return g.allow(ctx, *one, m.Counts, m.Told)
}

func (g *guesses) hasHomes(one guess) bool {
	return one.network != "" && len(g.limits.Account) > 0
}

func (g *guesses) hasNetwork(one guess) bool {
	return one.network != "" && len(g.limits.Network) > 0
}

// allow refuses a try that the limit of an account forbids.
func (g *guesses) allow(ctx context.Context, one guess, counts meter.Counts, told map[string]string) error {
	l, free, reached := counts.Reached(g.limits.Account, one.at)
	if !reached {
		return nil
	}
	g.back(one)
	if note := limitedNote(one, l); told[l.Name()] != note {
		g.chores.do("tell "+note, func(ctx context.Context) error { return g.tell(ctx, one, l, note) })
	}
	g.tried.WithLabelValues(string(triedAccountLimited)).Inc()
	notePassword(ctx, g.log, one, triedAccountLimited)
	return overGuesses(contract.LimitPassword, free.Sub(one.at))
}

// overGuesses is the refusal of one password more.
func overGuesses(reason contract.Reason, wait time.Duration) error {
	sentence := "Too many passwords were tried with this email. Please wait a while, then try again."
	if reason == contract.LimitPasswordNetwork {
		sentence = "Too many wrong passwords came from your network. Please wait a while, then try again."
	}
	e := contract.Wait(contract.RateLimited, wait, "%s", sentence)
	e.Reason = reason
	return e
}

// back makes a try count no more.
func (g *guesses) back(one guess) {
	if one.home {
		g.chores.giveBack(one.homesID(), one.mark(), g.limits.Account, one.at)
		return
	}
	if g.hasNetwork(one) {
		g.chores.giveBack(one.networkID(), "", g.limits.Network, one.at)
	}
	if len(g.limits.Account) > 0 {
		g.chores.giveBack(one.accountID(), "", g.limits.Account, one.at)
	}
}

// homeNoted is how exactly it is kept when a home was used last.
const homeNoted = time.Hour

// right makes a try count no more, and its network a home of the address. It all happens behind the person's back, and
// what is lost of it counts until its window is over.
func (g *guesses) right(one guess) {
	g.back(one)
	if g.hasHomes(one) && one.at.Sub(one.lately) >= homeNoted {
		g.chores.do("home "+one.homesID()+one.mark(), func(ctx context.Context) error {
			return g.records.home(ctx, one.homesID(), one.mark(), one.at)
		})
	}
}

// prune removes old counts, where there are many.
func (g *guesses) prune(of string, counts meter.Counts, now time.Time, remove func(context.Context) error) {
	if len(counts.Stale(now)) >= store.ManyStale {
		g.chores.do("prune "+of, remove)
	}
}

// limitedNote names the entry in the audit log that says that the limit of an account was reached: one for each stretch
// of its window.
func limitedNote(one guess, l meter.Limit) string {
	return fmt.Sprintf("passwords-%s-%s-%d", one.subject(), l.Name(), l.Stretch(one.at))
}

// tell has it in the audit log that the limit of an account was reached. An address without an account tells nothing.
func (g *guesses) tell(ctx context.Context, one guess, l meter.Limit, note string) error {
	u, err := g.accounts.byEmail(ctx, one.portal, one.address)
	switch {
	case err == nil:
		_, err = bus.Request(ctx, g.bus, contract.PolicyAudit, contract.AuditRequest{ID: note, AuditNote: contract.AuditNote{
			Portal: one.portal, Action: contract.AuditPasswordGuesses, User: u.User, At: one.at,
			Detail: map[string]string{"limit": strconv.Itoa(l.Most), "window": l.Window.String(), "network": one.network},
		}})
	case errors.Is(err, store.ErrNotFound):
		err = nil
	}
	if err != nil {
		return err
	}
	return g.records.told(ctx, one, l, note)
}

// guessesSweepEvery is how often what nobody has used for long is removed.
const guessesSweepEvery = 10 * time.Minute

// sweep removes old counts until ctx ends.
func (g *guesses) sweep(ctx context.Context) {
	tick := time.NewTicker(guessesSweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := g.records.sweep(ctx, g.now()); err != nil && ctx.Err() == nil {
				g.log.Warn("old counts of passwords not removed", slog.Any("error", err))
			}
		}
	}
}
