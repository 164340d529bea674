package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/service"
)

// bus looks at NATS, at what is kept there, at its clock and at what lies dead.
func (e *examiner) bus(ctx context.Context) []findings {
	f, dead, skew := findings{check: "NATS"}, findings{check: "dead letters"}, findings{check: "clock, NATS"}
	s, err := config.Load[service.Settings](e.of(contract.Policy))
	var settings *config.Error
	if errors.As(err, &settings) && slices.ContainsFunc(settings.Problems, func(p string) bool { return strings.HasPrefix(p, "NATS_") }) {
		f.fail("Set right what the check of the settings names.", "NATS was not looked at: its settings are not usable.")
		return []findings{f}
	}
	o := bus.Options{URL: s.NATSURL, CredsFile: s.NATSCredsFile, User: s.NATSUser, Password: s.NATSPassword, TLS: s.TLS(), Name: busName}
	if e.embeddedNATS {
		if err := asOperator(&o, e.Data); err != nil {
			f.fail("Set the file right, as the user whose it is.", "NATS was not looked at: %v.", err)
			return []findings{f}
		}
	}
	x, err := bus.Examine(ctx, o)
	remedy := "Look at the NATS server, its address in NATS_URL, and what lies between; services reconnect by themselves."
	if e.embeddedNATS {
		remedy = "Start `sallyport up` or `sallyport infra`, give --nats the address that it was given, or set NATS_URL."
	}
	if errors.Is(err, bus.ErrNotLetIn) {
		remedy = "Set NATS_USER=operator and NATS_PASSWORD_FILE, or NATS_CREDS_FILE."
		if e.embeddedNATS {
			remedy = "Give --data the directory of that NATS, and run this as the user whose it is: the password is in " + permit.PasswordFile(filepath.Join(e.Data, "keys"), permit.Operator) + "."
		}
	}
	if unknown := new(x509.UnknownAuthorityError); errors.As(err, unknown) {
		remedy = "Set NATS_CA_FILE to the certificate of the authority that has signed for NATS (ca.pem of `sallyport provision`)."
	}
	switch {
	case err != nil:
		f.fail(remedy, "%v.", err)
		return []findings{f}
	case errors.Is(x.JetStream, bus.ErrNoLeader):
		f.fail(remedyMajority, "NATS answers, JetStream does not: its servers have no majority, or are electing.")
		return []findings{f}
	case x.JetStream != nil:
		f.fail("Enable JetStream, with storage on disk, for the account that the services use. If it was: a server whose disk was full needs room and a restart.", "NATS answers, JetStream does not: %v.", x.JetStream)
		return []findings{f}
	}
	if x.RoundTrip > slowNATS {
		f.warn("Bring NATS nearer to the services, or find out what is busy.", "NATS takes %v to answer.", x.RoundTrip.Round(time.Millisecond))
	}
	judgeKept(&f, x.Kept, s.NATSReplicas)
	if f.clean() {
		f.ok("NATS answers in %v; JetStream has its %d streams and buckets (copies of each: %d).", x.RoundTrip.Round(10*time.Microsecond), len(x.Kept), s.NATSReplicas)
	}
	if x.DeadLetters > 0 {
		dead.warn("See them with `sallyport dead-letters list`; replay them when the reason is mended, or drop them. They are kept for 30 days.", "%d messages could not be used by anybody and lie in %s.", x.DeadLetters, contract.StreamDead)
	} else {
		dead.ok("No message is dead.")
	}
	if !x.Clock.IsZero() {
		judgeClock(&skew, "NATS", x.Clock, x.Asked)
	}
	return []findings{f, dead, skew}
}

// remedyMajority is for a cluster of NATS that has lost it.
const remedyMajority = "Start the NATS servers that are down: of three, two must run. Where they do, wait some seconds, until they have elected one; then look at their logs. One whose disk was full needs room and then a restart: JetStream does not come back on it by itself."

// judgeKept says what is wrong with streams and buckets, each cause once.
func judgeKept(f *findings, kept []bus.Kept, replicas int) {
	var causes []string
	whose := make(map[string][]string)
	judge := make(map[string]func(names string))
	say := func(name, cause string, how func(string)) {
		if judge[cause] == nil {
			causes, judge[cause] = append(causes, cause), how
		}
		whose[cause] = append(whose[cause], name)
	}
	for _, k := range kept {
		switch {
		case errors.Is(k.Err, bus.ErrNoLeader):
			say(k.Name, "leader", func(names string) {
				f.fail(remedyMajority, "%s: %v.", names, k.Err)
			})
		case k.Err != nil:
			say(k.Name, k.Err.Error(), func(names string) {
				f.fail("Run this with NATS_USER=operator and its password; `sallyport nats-conf` says what that user may ask.", "%s cannot be asked about: %v.", names, k.Err)
			})
		case !k.There:
			say(k.Name, "missing", func(names string) {
				f.warn("Start `sallyport up` or `sallyport infra`, or run `sallyport nats-prepare`: that makes what is missing.", "%s: not there yet.", names)
			})
		case k.Replicas != replicas:
			say(k.Name, fmt.Sprint("copies ", k.Replicas), func(names string) {
				f.warn("Set NATS_REPLICAS to what is meant and run `sallyport nats-prepare`: that changes it.", "%s: kept in copies: %d; NATS_REPLICAS is %d.", names, k.Replicas, replicas)
			})
		case len(k.Late) > 0:
			late := strings.Join(slices.Sorted(slices.Values(k.Late)), ", ")
			say(k.Name, "late "+late, func(names string) {
				if 2*len(k.Late) > k.Replicas {
					f.fail(remedyMajority, "%s: takes nothing; of the copies (%d), those on %s are not there or not up to date.", names, k.Replicas, late)
					return
				}
				f.warn("Start it, or wait until it has caught up; if its disk was full, make room and restart it. While it is away, the loss of one more server stops everything.",
					"%s: the copy on %s is not there or not up to date.", names, late)
			})
		}
	}
	for _, cause := range causes {
		judge[cause](strings.Join(whose[cause], ", "))
	}
}

// judgeClock says how far a server's clock is off, seen from here.
func judgeClock(f *findings, whose string, theirs, ours time.Time) {
	off := theirs.Sub(ours).Round(time.Millisecond)
	const remedy = "Let chrony or systemd-timesyncd keep the time on both machines: codes are a matter of seconds."
	switch {
	case off.Abs() > skewFail:
		f.fail(remedy, "The clock of %s is %v off from this machine's.", whose, off)
	case off.Abs() > skewWarn:
		f.warn(remedy, "The clock of %s is %v off from this machine's.", whose, off)
	default:
		f.ok("The clock of %s agrees with this machine's.", whose)
	}
}
