package arch_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/test/arch"
)

// One small workspace a case, each file after its "-- path --".
var bites = []struct {
	rule, name string
	tree       string
	want       []string // where it is broken, by package; none: the rule holds
}{
	{"contract", "standard library", `
-- pkg/contract/messages.go --
package contract
import "time"
import "encoding/json"
-- pkg/contract/messages_test.go --
package contract
import "github.com/google/go-cmp/cmp"
`, nil},
	{"contract", "library and neighbour", `
-- pkg/contract/messages.go --
package contract
import "github.com/google/uuid"
import "sallyport/pkg/secret"
`, []string{"pkg/contract/messages.go:2", "pkg/contract/messages.go:3"}},

	{"web", "in the gateway", `
-- services/auth-gateway/gateway/routes.go --
package gateway
import "github.com/gofiber/fiber/v2"
import "github.com/danielgtaylor/huma/v2"
`, nil},
	{"web", "elsewhere, tests included", `
-- services/totp-svc/totp/service.go --
package totp
import "github.com/gofiber/fiber/v2/middleware/limiter"
-- test/e2e_test.go --
package test
import "github.com/danielgtaylor/huma/v2"
`, []string{"services/totp-svc/totp/service.go:2", "test/e2e_test.go:2"}},

	{"store", "where state is kept", `
-- pkg/store/storetest/server.go --
package storetest
import "go.mongodb.org/mongo-driver/v2/mongo"
-- pkg/embedded/documents.go --
package embedded
import "go.mongodb.org/mongo-driver/v2/mongo"
-- services/policy-svc/policy/store.go --
package policy
import "go.mongodb.org/mongo-driver/v2/mongo"
`, nil},
	{"store", "elsewhere", `
-- services/policy-svc/policy/service.go --
package policy
import "go.mongodb.org/mongo-driver/v2/bson"
-- test/store.go --
package test
import "go.mongodb.org/mongo-driver/v2/bson"
-- pkg/storekeeper/store.go --
package storekeeper
import "go.mongodb.org/mongo-driver/v2/bson"
`, []string{"pkg/storekeeper/store.go:2", "services/policy-svc/policy/service.go:2", "test/store.go:2"}},

	{"bus", "in the bus and the embedded parts", `
-- pkg/bus/bustest/server.go --
package bustest
import "github.com/nats-io/nats-server/v2/server"
-- pkg/embedded/nats.go --
package embedded
import "github.com/nats-io/nats-server/v2/server"
`, nil},
	{"bus", "elsewhere, tests included", `
-- services/totp-svc/totp/service_test.go --
package totp
import "github.com/nats-io/nats.go/jetstream"
`, []string{"services/totp-svc/totp/service_test.go:2"}},

	{"traces", "in pkg/trace", `
-- pkg/trace/trace.go --
package trace
import "go.opentelemetry.io/otel/trace"
-- pkg/trace/tracetest/tracetest.go --
package tracetest
import "go.opentelemetry.io/proto/otlp/trace/v1"
`, nil},
	{"traces", "elsewhere, tests included", `
-- pkg/bus/call.go --
package bus
import "go.opentelemetry.io/otel/attribute"
-- test/e2e/traces_test.go --
package e2e
import "go.opentelemetry.io/proto/otlp/trace/v1"
`, []string{"pkg/bus/call.go:2", "test/e2e/traces_test.go:2"}},

	{"services", "itself, the one process and the tests", `
-- services/totp-svc/main.go --
package main
import "sallyport/services/totp-svc/totp"
-- services/sallyport/main.go --
package main
import "sallyport/services/totp-svc/totp"
-- test/e2e_test.go --
package test
import "sallyport/services/policy-svc/policy"
`, nil},
	{"services", "a neighbour, or from below", `
-- services/auth-gateway/gateway/routes.go --
package gateway
import "sallyport/services/policy-svc/policy"
-- services/totp-svc/totp/service.go --
package totp
import "sallyport/services/sallyport"
-- pkg/bus/bus.go --
package bus
import "sallyport/services/totp-svc/totp"
`, []string{"pkg/bus/bus.go:2", "services/auth-gateway/gateway/routes.go:2", "services/totp-svc/totp/service.go:2"}},

	{"tests", "among themselves", `
-- test/e2e_test.go --
package test
import "sallyport/test/arch"
-- pkg/bus/bus.go --
package bus
import "sallyport/testimony"
`, nil},
	{"tests", "from the product", `
-- services/totp-svc/totp/totp_test.go --
package totp
import "sallyport/test/browser"
`, []string{"services/totp-svc/totp/totp_test.go:2"}},

	{"binaries", "tests of what is shipped", `
-- services/totp-svc/main.go --
package main
import "sallyport/pkg/bus"
-- pkg/bus/bus.go --
package bus
-- pkg/bus/bus_test.go --
package bus
import "testing"
import "sallyport/pkg/bus/bustest"
-- pkg/bus/bustest/server.go --
package bustest
import "testing"
-- test/load/main.go --
package main
import "testing"
`, nil},
	{"binaries", "through two packages", `
-- services/totp-svc/main.go --
package main
import "sallyport/pkg/service"
-- pkg/service/service.go --
package service
import "sallyport/pkg/bus"
-- pkg/bus/bus.go --
package bus
import "testing/synctest"
import "sallyport/pkg/bus/bustest"
-- pkg/bus/bustest/server.go --
package bustest
`, []string{"pkg/bus/bus.go:2", "pkg/bus/bus.go:3"}},

	{"pure", "values", `
-- services/policy-svc/policy/decide.go --
package policy
import "time"
import "net/netip"
import "sallyport/pkg/contract"
-- services/policy-svc/policy/chain.go --
package policy
`, nil},
	{"pure", "input and output", `
-- services/policy-svc/policy/decide.go --
package policy
import "os"
import "net/http"
import "sallyport/pkg/store"
-- services/policy-svc/policy/chain.go --
package policy
`, []string{
		"services/policy-svc/policy/decide.go:2", "services/policy-svc/policy/decide.go:3",
		"services/policy-svc/policy/decide.go:4",
	}},
	{"pure", "moved", `
-- services/policy-svc/rules/decide.go --
package rules
-- services/policy-svc/policy/chain.go --
package policy
`, []string{"services/policy-svc/policy/decide.go"}},

	{"names", "a question", "-- pkg/clock/clock.go --\npackage clock\n", nil},
	{"names", "grab bags", `
-- pkg/utils/strings.go --
package text
-- pkg/shared/shared.go --
package common
`, []string{"pkg/shared", "pkg/utils"}},

	{"sleep", "waiting with a deadline", `
-- pkg/bus/bus_test.go --
package bus
import "time"
func wait(done chan int) {
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}
-- pkg/bus/bus.go --
package bus
import "time"
func f() { time.Sleep(1) }
`, nil},
	{"sleep", "by any name", `
-- pkg/bus/bus_test.go --
package bus
import clock "time"
func f() {
	clock.Sleep(1)
	<-clock.After(1)
}
-- pkg/bus/bustest/server.go --
package bustest
import "time"
var nap = time.Sleep
`, []string{"pkg/bus/bus_test.go:4", "pkg/bus/bus_test.go:5", "pkg/bus/bustest/server.go:3"}},

	{"clock", "measurements, mains and tests", `
-- services/totp-svc/totp/service.go --
package totp
import "time"
func f() {
	start := time.Now() // real time: how long a request took
	// real time: how long a request took
	_ = time.Since(start)
}
-- services/totp-svc/main.go --
package main
import "time"
var started = time.Now()
-- services/totp-svc/totp/service_test.go --
package totp
import "time"
var now = time.Now
-- pkg/clock/clock.go --
package clock
import "time"
var now = time.Now
`, nil},
	{"clock", "decisions", `
-- services/totp-svc/totp/service.go --
package totp
import "time"
func f(until time.Time) bool {
	if time.Now().After(until) {
		return true
	}
	return time.Until(until) > 0 // real time:
}
`, []string{"services/totp-svc/totp/service.go:4", "services/totp-svc/totp/service.go:7"}},

	{"questions", "answered", `
-- pkg/clock/clock.go --
// Package clock answers: what time is it? And more.
package clock
-- services/totp-svc/main.go --
// Command totp-svc answers: is this code right?
package main
`, nil},
	{"questions", "unanswered", `
-- pkg/clock/clock.go --
// Package clock has clocks. It answers nothing.
package clock
-- pkg/bus/bus.go --
package bus
`, []string{"pkg/bus", "pkg/clock"}},

	{"places", "gone", `
-- pkg/contracts/contract.go --
package contracts
-- pkg/bus/bus.go --
package bus
-- pkg/store/store.go --
package store
-- pkg/embedded/embedded.go --
package embedded
-- pkg/trace/trace.go --
package trace
-- services/auth-gateway/main.go --
package main
-- services/sallyport/main.go --
package main
-- test/arch/arch.go --
package arch
`, []string{"pkg/contract"}},
}

// TestRulesBite shows each rule what it must refuse and what it must let pass.
func TestRulesBite(t *testing.T) {
	t.Parallel()
	rules := map[string]arch.Rule{}
	for _, rule := range arch.Rules {
		rules[rule.Name] = rule
	}
	bitten := map[string]bool{}
	for _, c := range bites {
		bitten[c.rule] = bitten[c.rule] || c.want != nil
		t.Run(c.rule+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, v := range rules[c.rule].Check(load(t, c.tree)) {
				got = append(got, v.At)
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("broken at %q, want %q", got, c.want)
			}
		})
	}
	for name, rule := range rules {
		if !bitten[name] {
			t.Errorf("nothing shows that the rule %q bites: %s", name, rule.Says)
		}
	}
}

// load writes a workspace into a directory of its own and reads it back as the real one is read.
func load(t *testing.T, files string) arch.Tree {
	t.Helper()
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.work", "go 1.26.0\nuse .\n")
	write("go.mod", "module sallyport\n\ngo 1.26.0\n")
	for file := range strings.SplitSeq(strings.TrimPrefix(strings.TrimSpace(files), "-- "), "\n-- ") {
		name, content, _ := strings.Cut(file, " --\n")
		write(name, content)
	}
	tree, err := arch.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
