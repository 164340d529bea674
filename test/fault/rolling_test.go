package fault

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/test/sut"
)

// The rolling restart: two of each service, people who sign in all the while, and so many rounds through all processes.
const (
	rollRate  = 20
	rollDelay = time.Second // STOP_DELAY of the gateways
	between   = 500 * time.Millisecond
)

// TestRollingRestart ends every process of every service by SIGTERM and starts it again, one after the other, while
// people sign in: each has their session after one retry at the other gateway at most, nobody who was in is out, each
// text is handed over once, and each process ends in order within ten seconds and is ready again.
func TestRollingRestart(t *testing.T) {
	long := os.Getenv("FAULT_LONG") != ""
	rounds, apps, phones := 1, 120, 60
	if long {
		rounds, apps, phones = 3, 240, 100
	}
	s := sut.StartSplit(t, sut.SplitOptions{Replicas: 2, Env: sut.Fast(map[string]string{
		"STOP_DELAY": rollDelay.String(), "PASSWORD_LIMIT_ACCOUNT": "off", "PASSWORD_LIMIT_NETWORK": "off",
		"SMS_LIMIT_NUMBER": "off", "SMS_LIMIT_PREFIX": "off", "SMS_LIMIT_NETWORK": "off", "SMS_LIMIT_COUNTRY": "off", "SMS_LIMIT_PORTAL": "off", "SMS_CONVERSION_STOP": "off",
	})})
	f := newTraffic(t, s, apps, phones)
	rate, carried := f.carried(rollRate)
	texted := f.texted()
	over := make(chan struct{})
	var coming sync.WaitGroup
	coming.Go(func() { f.run(rate, over) })
	began := time.Now()
	var notes []string
	var longestStop, longestStart time.Duration
	pause := func() {
		wait := time.NewTimer(between)
		defer wait.Stop()
		<-wait.C
	}
	pause()
	for range rounds {
		for _, place := range s.Places {
			stop := s.Service[place].Terminate()
			begun := time.Now()
			s.StartService(place)
			start := time.Since(begun)
			longestStop, longestStart = max(longestStop, stop), max(longestStart, start)
			notes = append(notes, fmt.Sprintf("%-34s stopped in %v, ready after %v", place, stop.Round(time.Millisecond), start.Round(time.Millisecond)))
			pause()
		}
	}
	close(over)
	coming.Wait()
	took := time.Since(began)
	if carried && len(f.failures) > 0 {
		t.Errorf("%d sign-ins failed", len(f.failures))
	}
	// Fewer come where the gateways are slow, and an app has its next code in half a minute.
	if want := int(took.Seconds()) * rate / 4; carried && (len(f.sessions) < want || len(f.took["totp"]) == 0 || len(f.took["sms"]) == 0) {
		t.Errorf("%d sessions, of %d sign-ins with an app and %d with a text, in %v; want %d at %d people a second",
			len(f.sessions), len(f.took["totp"]), len(f.took["sms"]), took, want, rate)
	}
	for _, failure := range f.failures[:min(len(f.failures), 20)] {
		if carried {
			t.Error(failure)
		} else {
			t.Logf("not held against a restart, because this machine is too busy without one: %s", failure)
		}
	}
	lost := 0
	for _, token := range f.sessions {
		for _, g := range f.gateways {
			if a := g.Who(token); a.Status != 200 {
				lost++
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d sessions are unknown to a gateway", lost, len(f.sessions))
	}
	if handed, asked := f.texted()-texted, len(f.took["sms"]); carried && handed != asked {
		t.Errorf("%d texts were handed over for %d sign-ins", handed, asked)
	}
	if long {
		notes = nil
	}
	notes = append(notes, fmt.Sprintf("%-34s stopped in %v, ready after %v", "longest of all", longestStop.Round(time.Millisecond), longestStart.Round(time.Millisecond)))
	notes = append(f.figures(), notes...)
	text := fmt.Sprintf("%s: %d processes restarted in %v, %d people a second, %d sessions kept\n  %s\n",
		t.Name(), rounds*len(s.Places), took.Round(time.Millisecond), rate, len(f.sessions)-lost, strings.Join(notes, "\n  "))
	t.Log("\n" + text)
	report(t, text)
	if !carried {
		t.Skipf("this machine does not carry %d people a second even while nothing is restarted: who failed, and how many texts there were, says nothing", rate)
	}
}
