// Package sms answers: did a code that was sent to this person's phone come back?
//
// It keeps the numbers (sealed), opens challenges within the limits of limits.go, sends each challenge's text through
// AWS SNS at most as often as step.go allows, and checks typed codes, each of which succeeds once. What is a rule is a
// pure function: phone.go, mask.go, text.go, classify.go, limits.go and step.go import no bus and no store. documents.go
// says what is kept; store.go holds every write, and is the only file that knows the database.
package sms

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/clock"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
	"sallyport/pkg/trace"
)

// Settings of sms-dispatcher.
type Settings struct {
	service.Settings

	Countries   Countries `env:"SMS_COUNTRIES" help:"regions that may be texted, e.g. US,CA,GB; all others are refused, and all where it is empty"`
	SenderID    string    `env:"SMS_SENDER_ID" help:"sender name for regions that SMS_SENDERS does not list: up to 11 letters and digits"`
	Senders     Senders   `env:"SMS_SENDERS" help:"sender per region, e.g. GB=Northwind,US=+12065550100,CA=72345: a name, or one of your numbers or short codes"`
	Templates   Templates `env:"SMS_TEMPLATES" help:"own sentences per region, as JSON with {code} and {portal}, where a country wants registered words; * for all others"`
	MaxPriceUSD string    `env:"SMS_MAX_PRICE_USD" help:"what one text may cost at most"`
	DailyBudget int       `env:"SMS_DAILY_BUDGET" envDefault:"0" help:"how many texts may be sent per day (UTC); 0 is no limit: nothing bounds what texts cost then"`

	LimitPerson    string   `env:"SMS_LIMIT_PERSON" envDefault:"5/10m,15/24h" help:"unanswered texts (code not typed) that one person may ask for in each window (whole minutes, at most 24h); off is no limit, but the wait from one text to the next, from 30s on, stays"`
	LimitNumber    string   `env:"SMS_LIMIT_NUMBER" envDefault:"10/10m,30/24h" help:"unanswered texts (code not typed) to one telephone number in each window; off is no limit"`
	LimitPrefix    string   `env:"SMS_LIMIT_PREFIX" envDefault:"1000/10m,5000/24h" help:"unanswered texts (code not typed) to the ten thousand numbers that differ in the last four digits in each window; off is no limit"`
	LimitNetwork   string   `env:"SMS_LIMIT_NETWORK" envDefault:"1000/10m,10000/24h" help:"unanswered texts (code not typed) that one network (/24, IPv6 /64) may ask for in each window; off is no limit"`
	LimitCountry   string   `env:"SMS_LIMIT_COUNTRY" envDefault:"8000/10m,500000/24h" help:"unanswered texts (code not typed) of a portal to one country in each window; off is no limit"`
	LimitPortal    string   `env:"SMS_LIMIT_PORTAL" envDefault:"10000/10m,600000/24h" help:"unanswered texts (code not typed) of one portal in each window; off is no limit"`
	ConversionStop string   `env:"SMS_CONVERSION_STOP" envDefault:"10%/50" help:"a country is stopped when less than this share of at least so many texts are answered (their code was typed); off is no stop"`
	RecordOnly     []string `env:"SMS_RECORD_ONLY" help:"guards that record what they would refuse, and let it through: person, number, prefix, network, country, portal, conversion, budget"`
	Prices         []string `env:"SMS_PRICES" help:"what one text costs in USD, for the metric of costs, e.g. US=0.0075,GB=0.04"`

	Workers     int           `env:"SMS_WORKERS" envDefault:"16" help:"how many texts are sent at once"`
	SendTimeout time.Duration `env:"SMS_SEND_TIMEOUT" envDefault:"5s" help:"how long one call of SNS may take"`

	AWSRegion          string        `env:"AWS_REGION" help:"region of SNS; without it, what the AWS SDK finds"`
	AWSEndpointURLSNS  string        `env:"AWS_ENDPOINT_URL_SNS" help:"another SNS endpoint, e.g. a local one"`
	AWSAccessKeyID     string        `env:"AWS_ACCESS_KEY_ID" help:"static credentials; without them, what the AWS SDK finds"`
	AWSSecretAccessKey secret.String `env:"AWS_SECRET_ACCESS_KEY" help:"the secret of AWS_ACCESS_KEY_ID"`
	AWSSessionToken    secret.String `env:"AWS_SESSION_TOKEN" help:"the session of AWS_ACCESS_KEY_ID, if it is a temporary one"`
}

// Validate returns what is wrong with the settings.
func (s Settings) Validate() []string {
	out := s.Problems()
	if bad := s.Countries.unknown(); len(bad) > 0 {
		out = append(out, "SMS_COUNTRIES: not a region: "+strings.Join(bad, ", "))
	}
	if s.SenderID != "" && !isSenderName(s.SenderID) {
		out = append(out, "SMS_SENDER_ID: must be 1 to 11 letters and digits, at least one letter")
	}
	for _, problem := range s.Senders.problems {
		out = append(out, "SMS_SENDERS: "+problem)
	}
	for _, problem := range s.Templates.problems {
		out = append(out, "SMS_TEMPLATES: "+problem)
	}
	if price, err := strconv.ParseFloat(s.MaxPriceUSD, 64); s.MaxPriceUSD != "" && (err != nil || !(price > 0 && price <= 100)) {
		out = append(out, "SMS_MAX_PRICE_USD: must be a price such as 0.05")
	}
	if s.DailyBudget < 0 {
		out = append(out, "SMS_DAILY_BUDGET: must not be negative")
	}
	if _, bad := s.guards(); bad != nil {
		out = append(out, bad...)
	}
	if s.Workers < 1 || s.Workers > 256 {
		out = append(out, "SMS_WORKERS: must be between 1 and 256")
	}
	if s.SendTimeout < 100*time.Millisecond || s.SendTimeout > 6*time.Second {
		out = append(out, "SMS_SEND_TIMEOUT: must be between 100ms and 6s")
	}
	if (s.AWSAccessKeyID == "") != s.AWSSecretAccessKey.Empty() {
		out = append(out, "AWS_ACCESS_KEY_ID: set it together with AWS_SECRET_ACCESS_KEY")
	}
	if u, err := url.Parse(s.AWSEndpointURLSNS); s.AWSEndpointURLSNS != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		out = append(out, "AWS_ENDPOINT_URL_SNS: must be a URL such as https://sns.us-east-1.amazonaws.com")
	}
	if _, err := s.aws(context.Background()); err != nil {
		out = append(out, err.Error())
	}
	return out
}

// dispatcher is the running service.
type dispatcher struct {
	settings Settings
	guards   guards
	stops    stops
	clock    clock.Clock
	log      *slog.Logger
	trace    *trace.Tracer
	keys     *seal.Keys
	records  *records
	office   *Office
	sender   *sender
	gate     *gate
	metrics  *metrics
	hands    hands
	calls    chan struct{} // one for each call of SNS under way
	code     func() (secret.String, error)
	// announce tells an outcome: at least once, and what is told twice is stored once.
	announce func(context.Context, contract.ChallengeFact) error
}

// Start starts the service.
func Start(ctx context.Context, env service.Env) (*service.Service, error) {
	s, err := service.Load[Settings](contract.SMSDispatcher, env.Vars)
	if err != nil {
		return nil, err
	}
	sender, err := newSender(ctx, s)
	if err != nil {
		return nil, err
	}
	svc, err := service.Open(ctx, contract.SMSDispatcher, env, s.Settings)
	if err != nil {
		return nil, err
	}
	if err := serve(ctx, svc, s, sender); err != nil {
		return nil, svc.Abandon(ctx, fmt.Errorf("%s: %w", contract.SMSDispatcher, err))
	}
	return svc, nil
}

func serve(ctx context.Context, svc *service.Service, s Settings, sender *sender) error {
	r, err := newRecords(ctx, svc.DB, svc.Outbox)
	if err == nil {
		err = svc.Reseal(ctx, keptSealed())
	}
	if err != nil {
		return err
	}
	m := newMetrics(svc.Registerer(), s)
	rules, _ := s.guards() // they were checked when the settings were read
	d := &dispatcher{
		settings: s, guards: rules, clock: svc.Clock, log: svc.Log, trace: svc.Trace, keys: svc.Keys, records: r, sender: sender, gate: newGate(m.paused, m.broken), calls: make(chan struct{}, s.Workers), metrics: m,
		code: func() (secret.String, error) { return newCode(rand.Reader) },
		announce: func(ctx context.Context, f contract.ChallengeFact) error {
			return bus.Publish(ctx, svc.Bus, contract.ChallengeEnded, "challenge-"+f.Challenge, f)
		},
	}
	d.office = &Office{records: r, clock: svc.Clock, guards: rules, relay: svc.Outbox.Relay}
	if err := d.lookAtStops(ctx); err != nil {
		return err
	}
	// While so many texts are sent, as many others are reserved or have their outcome written: a slow store does not make
	// calls of SNS fewer.
	jobs := bus.ConsumeOptions{Workers: 2 * s.Workers}
	if err := errors.Join(
		bus.Handle(svc.Bus, contract.SMSOpen, d.open),
		bus.Handle(svc.Bus, contract.SMSVerify, d.verify),
		bus.Handle(svc.Bus, contract.SMSConfirm, d.confirm),
		bus.Handle(svc.Bus, contract.SMSStatus, d.status),
		bus.Handle(svc.Bus, contract.SMSUnlock, d.unlock),
		bus.Handle(svc.Bus, contract.SMSDeliveries, d.deliveries),
		bus.Handle(svc.Bus, contract.SMSTraffic, d.traffic),
		bus.Consume(ctx, svc.Bus, contract.EnrolmentReset, bus.ConsumeOptions{}, d.reset),
		bus.Consume(ctx, svc.Bus, contract.ChallengeRequested, jobs, d.requested),
	); err != nil {
		return err
	}
	svc.Go(d.reconcile)
	svc.Go(d.watch)
	svc.Go(func(ctx context.Context) { watchBacklog(ctx, svc.Bus, m) })
	return nil
}

// watchBacklog shows how many jobs wait, until ctx ends. What is not known is not shown.
func watchBacklog(ctx context.Context, b *bus.Bus, m *metrics) {
	tick := time.NewTicker(backlogEvery)
	defer tick.Stop()
	for {
		if n, _, err := bus.Backlog(ctx, b, contract.ChallengeRequested); err == nil {
			m.jobs.saw(float64(n))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// backlogEvery is how often the server is asked how many jobs wait, in real time.
const backlogEvery = 5 * time.Second

// now is the time of every decision, as exact as the store keeps it.
func (d *dispatcher) now() time.Time { return asKept(d.clock.Now()) }

// asKept is a time as the store keeps it.
func asKept(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// Ids come from our own services, and become parts of other ids and of field names.
var (
	idShape      = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	portalShape  = regexp.MustCompile(`^[^/\x00]{1,128}$`)
	userShape    = regexp.MustCompile(`^[^\x00]{1,256}$`)
	flowShape    = userShape
	hostShape    = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]{1,100}$`)
	errNotUsable = contract.Refuse(contract.InvalidRequest, "This request is incomplete.")
)

// named tells whether a request names a person properly.
func named(who contract.Account) bool {
	return portalShape.MatchString(who.Portal) && userShape.MatchString(who.User)
}

// The places of sealed values.
func placeOfNumber(who contract.Account, enrolment string) seal.Place {
	return seal.Place{who.Portal, phonesName, "phone", who.User, enrolment}
}

func placeOfPhone(who contract.Account, challenge string) seal.Place {
	return seal.Place{who.Portal, challengesName, "phone", who.User, challenge}
}

func placeOfCode(who contract.Account, challenge string) seal.Place {
	return seal.Place{who.Portal, challengesName, "code", who.User, challenge}
}
