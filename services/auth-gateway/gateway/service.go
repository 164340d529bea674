// Package gateway answers: who may come in, and what must they do first?
//
// It is the only service that people reach: pages and JSON API over HTTP. It checks passwords, asks policy-svc what a
// person must do, carries codes to the service that owns the factor, and keeps sign-ins and sessions. transitions.go
// holds the whole life of a sign-in, routes.go every route with its guard.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/bus"
	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/service"
	"sallyport/services/auth-gateway/web"
)

// Settings are what the gateway is told.
type Settings struct {
	service.Settings
	ListenAddr     string        `env:"LISTEN_ADDR" envDefault:"127.0.0.1:8080" help:"listener of pages and JSON API"`
	PublicURL      string        `env:"PUBLIC_URL,required,notEmpty" help:"where people reach the portal's sign-in, e.g. https://portal.example.com"`
	TrustedProxies []string      `env:"TRUSTED_PROXIES" help:"addresses or networks whose X-Forwarded headers count, e.g. 10.0.0.0/8"`
	StopDelay      time.Duration `env:"STOP_DELAY" envDefault:"0s" help:"how long to go on serving after SIGTERM, no longer ready, so that a load balancer notices; at most 5s"`
	Argon2Memory   uint32        `env:"ARGON2_MEMORY_KIB" envDefault:"7168" help:"memory of one password hash in KiB"`
	Argon2Time     uint32        `env:"ARGON2_ITERATIONS" envDefault:"5" help:"passes of one password hash"`
	PasswordMemory uint32        `env:"PASSWORD_MEMORY_MIB" envDefault:"512" help:"memory that all hashes under way may take together in MiB, however many cores there are; a quarter of what the gateway may have is good"`

	PasswordLimitAccount string `env:"PASSWORD_LIMIT_ACCOUNT" envDefault:"10/10m,20/1h,50/24h" help:"how many wrong passwords an account takes; by itself for each network from which the right one came before; off for no limit"`
	PasswordLimitNetwork string `env:"PASSWORD_LIMIT_NETWORK" envDefault:"400/10m,600/1h,1000/24h" help:"how many wrong passwords are taken from one network (/24, or /64 of IPv6) for accounts whose right password never came from it"`
}

// Validate returns what is wrong beyond the types.
func (s *Settings) Validate() []string {
	out := s.Problems()
	if s.PublicURL != "" {
		u, err := url.Parse(s.PublicURL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			out = append(out, "PUBLIC_URL: must be a scheme and a host, such as https://portal.example.com")
		} else if u.Scheme == "http" && !isLoopback(u.Hostname()) {
			out = append(out, "PUBLIC_URL: must be https, except on this machine")
		}
	}
	if err := config.ListenAddr(s.ListenAddr); err != nil {
		out = append(out, "LISTEN_ADDR: "+err.Error())
	}
	for _, p := range s.TrustedProxies {
		_, errAddr := netip.ParseAddr(p)
		_, errNet := netip.ParsePrefix(p)
		if errAddr != nil && errNet != nil {
			out = append(out, fmt.Sprintf("TRUSTED_PROXIES: %q is neither an address nor a network", p))
		}
	}
	if s.StopDelay < 0 || s.StopDelay > longestDelay {
		out = append(out, fmt.Sprintf("STOP_DELAY: must be between 0s and %v", longestDelay))
	}
	if s.Argon2Memory < 64 || s.Argon2Time < 1 {
		out = append(out, "ARGON2_MEMORY_KIB, ARGON2_ITERATIONS: at least 64 and 1")
	}
	if s.PasswordMemory < 16 || s.PasswordMemory > 1<<20 {
		out = append(out, "PASSWORD_MEMORY_MIB: must be between 16 and 1048576")
	}
	_, problems := s.limits()
	return append(out, problems...)
}

// isLoopback tells whether a host is this machine.
func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// gateway is the running service.
type gateway struct {
	svc        *service.Service
	settings   Settings
	accounts   accounts
	sessions   *sessions
	flow       *signIns
	desk       *desk
	federation *federation
	door       *door
	portals    atomic.Pointer[map[string]portal]
	api        huma.API
	docs       atomic.Pointer[web.Docs]
	secure     bool // PUBLIC_URL is https
	address    net.Addr
	leaving    atomic.Bool       // about to stop: each answer is the last one of its connection
	proxies    []netip.Prefix    // TRUSTED_PROXIES
	guards     map[string]string // by route, for Routes
	requests   *requests
}

// portalsEvery is how soon a portal that was added or changed is seen.
const portalsEvery = 10 * time.Second

// Start starts the gateway and returns it listening. See [service.Start].
func Start(ctx context.Context, env service.Env) (*service.Service, error) {
	g, err := start(ctx, env)
	if err != nil {
		return nil, err
	}
	return g.svc, nil
}

func start(ctx context.Context, env service.Env) (_ *gateway, err error) {
	settings, err := service.Load[Settings](contract.AuthGateway, env.Vars)
	if err != nil {
		return nil, err
	}
	// The listener comes first: a port in use is the commonest fault and needs no dependency to be found.
	listener, err := net.Listen("tcp", settings.ListenAddr)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_ADDR: %w", err)
	}
	svc, err := service.Open(ctx, contract.AuthGateway, env, settings.Settings)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	defer func() {
		if err != nil {
			_ = listener.Close()
			err = svc.Abandon(ctx, err)
		}
	}()
	g := &gateway{
		svc: svc, settings: settings, accounts: newAccounts(svc.DB), address: listener.Addr(),
		secure: strings.HasPrefix(settings.PublicURL, "https:"), proxies: trustedNetworks(settings.TrustedProxies),
	}
	counts := newMetrics(svc.Registerer())
	g.requests = newRequests(svc.Registerer())
	hashes, err := newPasswords(settings.Argon2Memory, settings.Argon2Time, settings.PasswordMemory)
	if err != nil {
		return nil, err
	}
	hashes.waited = counts.hashWait.Observe
	if err := svc.DB.EnsureIndexes(ctx, slices.Concat(directoryIndexes(), guessIndexes(), doorIndexes())); err != nil {
		return nil, err
	}
	if err := svc.Reseal(ctx, keptSealed()); err != nil {
		return nil, err
	}
	if g.sessions, err = openSessions(ctx, svc.Bus, g.now); err != nil {
		return nil, err
	}
	g.sessions.log = svc.Log
	g.sessions.measure(svc.Registerer())
	signInBucket, err := bus.OpenKV[signIn](ctx, svc.Bus, contract.SignIns)
	if err != nil {
		return nil, err
	}
	arrivals := newArrivals(g.accounts, svc.Log)
	g.desk = &desk{
		accounts: g.accounts, sessions: g.sessions, passwords: hashes, guesses: newGuessRecords(svc.DB), bus: svc.Bus, outbox: svc.Outbox, now: g.now, log: svc.Log,
		publicURL: settings.PublicURL, reload: g.loadPortals,
	}
	limits, _ := settings.limits() // they were read when the settings were checked
	guesses := newGuesses(g.desk.guesses, limits, g.accounts, svc.Bus, g.now, svc.Log, svc.Registerer())
	g.flow = &signIns{
		kv: signInBucket, bus: svc.Bus, accounts: g.accounts, passwords: hashes, guesses: guesses, sessions: g.sessions,
		seal: svc.Keys.Bus, now: g.now, log: svc.Log, here: g.portal, arrived: arrivals.note, counts: counts,
	}
	if g.federation, err = openFederation(ctx, svc, g.desk, g.flow); err != nil {
		return nil, err
	}
	g.door = &door{
		keys: apiKeysOf(svc.DB), accounts: g.accounts, desk: g.desk, flow: g.flow, now: g.now, log: svc.Log, reload: g.loadPortals, portal: g.portal,
		passages: newPassages(svc.Registerer()),
	}
	if err := g.watchSessions(ctx); err != nil {
		return nil, err
	}
	if err := g.loadPortals(ctx); err != nil {
		return nil, err
	}
	svc.Go(g.refreshPortals)
	if err := g.sessions.follow(ctx, svc.Bus); err != nil {
		return nil, err
	}
	if err := g.desk.open(ctx); err != nil {
		return nil, err
	}
	svc.Go(arrivals.run)
	svc.Go(guesses.chores.run)
	svc.Go(guesses.sweep)
	app := g.newApp()
	g.api = newAPI(app)
	g.routeAPI(app, g.api)
	g.routePages(app)
	docs := web.NewDocs(g.api.OpenAPI())
	g.docs.Store(&docs)
	lines := newListening(listener)
	var ended atomic.Bool
	svc.CheckReady("listener", func(context.Context) error {
		if ended.Load() {
			return errors.New("nobody takes connections any more; only a restart helps")
		}
		return nil
	})
	go func() {
		if err := app.Listener(lines); err != nil {
			ended.Store(true)
			svc.Log.Error("listener ended", slog.Any("error", err))
		}
	}()
	svc.OnStop("listener", func(ctx context.Context) error {
		g.leave(ctx)
		return lines.stop(ctx, app)
	})
	return g, nil
}

// watchSessions keeps the sessions in memory for as long as the service runs.
func (g *gateway) watchSessions(ctx context.Context) error {
	loaded := make(chan error, 1)
	g.svc.Go(func(life context.Context) {
		loaded <- g.sessions.watch(life)
		g.sessions.sweep(life)
	})
	g.svc.CheckReady("sessions", func(context.Context) error {
		if !g.sessions.kv.Fresh() {
			return errors.New("the session bucket cannot be seen")
		}
		return nil
	})
	select {
	case err := <-loaded:
		return err
	case <-ctx.Done():
		return fmt.Errorf("sessions: %w", ctx.Err())
	}
}

// now is the service's clock, cut to the precision in which times are kept.
func (g *gateway) now() time.Time { return g.svc.Clock.Now().Truncate(time.Millisecond) }

func (g *gateway) loadPortals(ctx context.Context) error {
	all, err := g.accounts.all(ctx)
	if err != nil {
		return err
	}
	byHost := make(map[string]portal, len(all))
	for _, p := range all {
		if p.PublicURL == "" {
			p.PublicURL = g.settings.PublicURL
		}
		byHost[strings.ToLower(hostOf(p.PublicURL))] = p
	}
	g.portals.Store(&byHost)
	return nil
}

// refreshPortals looks for new and changed portals until ctx ends.
func (g *gateway) refreshPortals(ctx context.Context) {
	tick := time.NewTicker(portalsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := g.loadPortals(ctx); err != nil && ctx.Err() == nil {
				g.svc.Log.Warn("portals not refreshed", slog.Any("error", err))
			}
		}
	}
}

type hostKey struct{}

// portal is the one that the request is for: by its host, or the only one there is.
func (g *gateway) portal(ctx context.Context) (portal, error) {
	byHost := *g.portals.Load()
	if len(byHost) == 0 {
		// A new installation: its first portal must be seen at once.
		if err := g.loadPortals(ctx); err != nil {
			return portal{}, err
		}
		byHost = *g.portals.Load()
	}
	host, _ := ctx.Value(hostKey{}).(string)
	if p, ok := byHost[strings.ToLower(hostOf("//"+host))]; ok {
		return p, nil
	}
	if len(byHost) == 1 {
		for _, p := range byHost {
			return p, nil
		}
	}
	return portal{}, contract.Refuse(contract.NotFound, "There is no portal at this address.")
}

// newApp makes the HTTP server with its bounds.
func (g *gateway) newApp() *fiber.App {
	app := fiber.New(fiber.Config{
		Immutable: true, // strings outlive their request here
		BodyLimit: maxBody, ReadBufferSize: 16 << 10,
		ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute,
		DisableStartupMessage: true, ErrorHandler: g.answerError, CaseSensitive: true, StrictRouting: false,
		EnableTrustedProxyCheck: true, TrustedProxies: g.settings.TrustedProxies, ProxyHeader: proxyHeader(g.settings.TrustedProxies),
	})
	if g.requests != nil { // the table of routes is asked for without anything that runs
		app.Use(g.measure)
	}
	app.Use(g.frameRequest)
	if g.svc != nil && g.svc.Trace != nil {
		app.Use(g.follow)
	}
	app.Use(g.survive)
	return app
}

func proxyHeader(trusted []string) string {
	if len(trusted) == 0 {
		return ""
	}
	return fiber.HeaderXForwardedFor
}
