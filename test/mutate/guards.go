package main

import (
	"fmt"
	"slices"
	"strings"
)

// guard is one condition that a promise rests on.
type guard struct {
	Name string
	// Keeps says what would be lost with it.
	Keeps string
	File  string
	// Old stands in File exactly once; New is what is there without the guard, and compiles.
	Old, New string
	// Test, of Package, fails then.
	Package, Test string
}

// apply takes the guard out of the source.
func (g guard) apply(source string) (string, error) {
	if n := strings.Count(source, g.Old); n != 1 {
		return "", fmt.Errorf("its condition stands %d times in %s: bring the list up to date", n, g.File)
	}
	return strings.Replace(source, g.Old, g.New, 1), nil
}

const (
	permitDir, permitPackage   = "pkg/bus/permit/", "./pkg/bus/permit"
	smsDir, smsPackage         = "services/sms-dispatcher/sms/", "./services/sms-dispatcher/sms"
	gatewayDir, gatewayPackage = "services/auth-gateway/gateway/", "./services/auth-gateway/gateway"
)

// guards is the list: by service, in the order in which a request meets them.
var guards = slices.Concat(textGuards, totpGuards, policyGuards, doorGuards, edgeGuards)

// textGuards are those of text messages, the bus, passwords and meters.
var textGuards = []guard{
	{
		Name: "sms: a limit that is reached refuses", Keeps: "who asks and never answers is sent no more",
		File: smsDir + "guard_open.go", Old: `		if !reached {`, New: `		if reached = false; !reached {`,
		Package: smsPackage, Test: "TestB24EachLimitRefuses",
	},
	{
		Name: "sms: a person's own limit", Keeps: "one account costs a bounded number of texts",
		File: smsDir + "guard_open.go", Old: `if !d.lets(contract.GuardPerson) {`, New: `if false && !d.lets(contract.GuardPerson) {`,
		Package: smsPackage, Test: "TestB24FiveTextsInTenMinutes",
	},
	{
		Name: "sms: no more than sixty texts a day", Keeps: "who types the codes of numbers that pay is bounded, too",
		File: smsDir + "limits.go", Old: `s.Today >= mostADay &&`, New: `false && s.Today >= mostADay &&`,
		Package: smsPackage, Test: "TestB24SixtyTextsADay",
	},
	{
		Name: "sms: unconfirmed numbers count apart", Keeps: "nobody closes a stranger's number for its owner",
		File: smsDir + "guard_open.go", Old: `number = string(contract.ForEnrolment) + " " + e164`, New: `number = e164`,
		Package: smsPackage, Test: "TestB19AStrangersNumberIsNotClosedForItsOwner",
	},
	{
		Name: "sms: a fault of ours is given back", Keeps: "nobody waits for texts that never went out",
		File: smsDir + "settle.go", Old: `if !out && unsent {`, New: `if false && !out && unsent {`,
		Package: smsPackage, Test: "TestAFaultOfOursIsGivenBackToThePerson",
	},
	{
		Name: "sms: a reset that was half done is finished", Keeps: "no text of before a reset is sent, whoever died in between",
		File: smsDir + "open.go", Old: `for _, id := range p.Sends.older(now, p.Epoch) {`, New: `for _, id := range p.Sends.older(now, 0) {`,
		Package: smsPackage, Test: "TestAResetThatWasHalfDoneIsFinished",
	},
	{
		Name: "sms: a typed code is not replaced", Keeps: "a success stays one, in the record and in what is told",
		File: smsDir + "store.go", Old: `		guard = append(guard, field("closed", stillOpen))
		fields = append(fields, field("closed", o.closed))`, New: `		fields = append(fields, field("closed", o.closed))`,
		Package: smsPackage, Test: "TestATypedCodeIsNotReplacedAfterwards",
	},
	{
		Name: "sms: what is refused is not counted", Keeps: "the limit of one does not eat into that of all",
		File: smsDir + "guard_open.go", Old: `		d.takeBack(ctx, subjects[:i+1], now)
`, New: `		_ = i
`,
		Package: smsPackage, Test: "TestB24EachLimitRefuses",
	},
	{
		Name: "sms: a right code gives back", Keeps: "who signs in properly meets no limit",
		File: smsDir + "settle.go", Old: `if answered || !out && unsent {`, New: `if false && (answered || !out && unsent) {`,
		Package: smsPackage, Test: "TestB24EachLimitRefuses|TestATextThatWasNotSentIsGivenBack",
	},
	{
		Name: "sms: countries are denied by default", Keeps: "only countries of the list are texted, at every sign-in",
		File: smsDir + "guard_open.go", Old: `if !slices.Contains(d.settings.Countries, region) {`, New: `if false && !slices.Contains(d.settings.Countries, region) {`,
		Package: smsPackage, Test: "TestACountryThatLeavesTheListIsNotTexted",
	},
	{
		Name: "sms: a stopped country is refused", Keeps: "where no code comes back, no more are sent",
		File: smsDir + "guard_stop.go", Old: `if !stopped || !d.obeyed(t) || d.lets(contract.GuardConversion) {`, New: `if true || !stopped || !d.obeyed(t) || d.lets(contract.GuardConversion) {`,
		Package: smsPackage, Test: "TestB24ACountryWhoseCodesDoNotComeBackIsStopped",
	},
	{
		Name: "sms: a queued text to a stopped country is held", Keeps: "a stop holds for what waits, too",
		File: smsDir + "guard_stop.go", Old: `return stopped && d.obeyed(t) && !d.guards.recorded[contract.GuardConversion]`, New: `return false && stopped && d.obeyed(t)`,
		Package: smsPackage, Test: "TestAQueuedTextToAStoppedCountryIsNotSent",
	},
	{
		Name: "sms: a spent budget refuses", Keeps: "the bill of a day is bounded, and people hear of it at once",
		File: smsDir + "guard_budget.go", Old: `if err != nil || !limited || left > 0 {`, New: `if true || err != nil || !limited || left > 0 {`,
		Package: smsPackage, Test: "TestASpentBudgetRefuses",
	},
	{
		Name: "sms: the budget is claimed before the call", Keeps: "no replica spends more than the day has",
		File: smsDir + "store.go", Old: `Guard: bson.D{field("sent", cond("$lt", limit))}, Update:`, New: `Update:`,
		Package: smsPackage, Test: "TestTheDailyBudgetIsExact",
	},
	{
		Name: "sms: late jobs are laid aside", Keeps: "a backlog delays nobody who asks now",
		File: smsDir + "step.go", Old: `case now.Sub(expires.Add(-codeLife)) >= grace:`, New: `case false && now.Sub(expires.Add(-codeLife)) >= grace:`,
		Package: smsPackage, Test: "TestWhichJobsAreLaidAside",
	},
	{
		Name: "sms: the youngest first", Keeps: "of a backlog, the codes that somebody waits for are sent",
		File: smsDir + "store.go", Old: `		order = -1
`, New: `		order = +1
`,
		Package: smsPackage, Test: "TestTheYoungestOfABacklogGoFirst",
	},
	{
		Name: "sms: attempts are reserved before the call", Keeps: "a process that dies in a loop does not exceed the cap",
		File: smsDir + "store.go", Old: `counts := []bson.E{field("attempts", 1)}`, New: `counts := []bson.E{field("attempts", 0)}`,
		Package: smsPackage, Test: "TestAnAttemptThatACrashLeftCountsAsAmbiguous|TestFaultsOfSNS",
	},
	{
		Name: "sms: no more than three attempts", Keeps: "hand-offs of a challenge are bounded",
		File: smsDir + "step.go", Old: `case c.Attempts >= maxAttempts:`, New: `case c.Attempts >= maxAttempts+2:`,
		Package: smsPackage, Test: "TestFaultsOfSNS|TestNextStep",
	},
	{
		Name: "sms: a lost attempt counts as ambiguous", Keeps: "what may have been sent is known as such",
		File: smsDir + "store.go", Old: `counts = append(counts, field("ambiguous", 1))`, New: `counts = append(counts, field("ambiguous", 0))`,
		Package: smsPackage, Test: "TestAnAttemptThatACrashLeftCountsAsAmbiguous",
	},
	{
		Name: "sms: one worker at a time", Keeps: "of many deliveries of one job, one sends",
		File: smsDir + "step.go", Old: `case c.Worker != worker && now.Before(c.LeaseUntil):`, New: `case false && c.Worker != worker && now.Before(c.LeaseUntil):`,
		Package: smsPackage, Test: "TestNextStep",
	},
	{
		Name: "sms: a job names its own challenge", Keeps: "a forged job sends nothing",
		File: smsDir + "store.go", Old: `guard = append(guard, field("portal", c.Portal), field("user", c.User))`, New: `_ = guard`,
		Package: smsPackage, Test: "TestForgedAndBrokenJobsSendNothing",
	},
	{
		Name: "sms: the last look before the call", Keeps: "a process that stood still does not send what others have sent",
		File: smsDir + "dispatch.go", Old: `!now.Add(d.settings.SendTimeout).Before(reserved.LeaseUntil)`, New: `false`,
		Package: smsPackage, Test: "TestNothingIsSentWhenTheLeaseIsNearlyOver",
	},
	{
		Name: "sms: an expired code is not sent", Keeps: "no text for a challenge that is over",
		File: smsDir + "step.go", Old: `case !now.Before(c.ExpiresAt):`, New: `case false && !now.Before(c.ExpiresAt):`,
		Package: smsPackage, Test: "TestNextStep|TestAnExpiredChallengeIsNeverSent",
	},
	{
		Name: "sms: our own faults pause the queue", Keeps: "a refused account burns no attempt",
		File: smsDir + "gate.go", Old: `g.until = time.Now().Add(g.wait)`, New: `g.until = time.Now()`,
		Package: smsPackage, Test: "TestASpentAccountPausesTheQueue",
	},
	{
		Name: "sms: an outcome is told before the challenge is put away", Keeps: "a crash loses no news of an outcome",
		File: smsDir + "reconcile.go", Old: `if err := d.announce(ctx, factOf(c)); err != nil {`, New: `if err := error(nil); err != nil {`,
		Package: smsPackage, Test: "TestAnOutcomeIsToldOnceAtLeastAndStoredOnce",
	},
	{
		Name: "sms: a code is counted before it is compared", Keeps: "parallel guesses do not exceed the limit",
		File: smsDir + "verify.go", Old: `counted, first, err := d.records.countGuess(ctx, t.Account, call, now)`, New: `counted, first, err := p, true, error(nil)`,
		Package: smsPackage, Test: "TestParallelWrongGuessesAreCountedExactly",
	},
	{
		Name: "sms: a code succeeds once", Keeps: "a used code opens nothing",
		File: smsDir + "store.go", Old: `Guard:  bson.D{field("closed", stillOpen), field("expires_at", cond("$gt", now))},
		Update: bson.D{set(fields...), unset("code", "phone")},`, New: `Update: bson.D{set(fields...)},`,
		Package: smsPackage, Test: "TestACodeSucceedsOnceOnTwoInstances",
	},
	{
		Name: "sms: a confirmation asked again is the same", Keeps: "a lost reply does not make a right code look wrong",
		File: smsDir + "verify.go", Old: `	if n := p.Active; n != nil && n.Ref == c.Ref {
		return`, New: `	if n := p.Active; false && n != nil && n.Ref == c.Ref {
		return`,
		Package: smsPackage, Test: "TestOneConfirmationAskedManyTimesAtOnceIsOne",
	},
	{
		Name: "sms: a newer text kills the older code", Keeps: "after a resend one code is good",
		File: smsDir + "verify.go", Old: `p.Sends.superseded(c.ID, c.Flow) ||`, New: ``,
		Package: smsPackage, Test: "TestB24TheOlderCodeIsDeadAsSoonAsTheNewerTextIsLetThrough",
	},
	{
		Name: "nats: nobody comes in without a password", Keeps: "who reaches the port has nothing yet",
		File: "pkg/embedded/nats.go", Old: `Users:      users,`, New: `Users:      users[:0],`,
		Package: permitPackage, Test: "TestNobodyWithoutAPasswordComesIn",
	},
	{
		Name: "nats: users have lists of subjects", Keeps: "a service that is taken over reaches nothing of the others'",
		File: "pkg/embedded/nats.go", Old: `Password: string(hash), Permissions: permissions}`, New: `Password: string(hash)}`,
		Package: permitPackage, Test: "TestEveryUserOnEverySubject|TestWhatNobodyMayEverDo",
	},
	{
		Name: "nats: one answer to each question", Keeps: "nobody answers who was not asked, or twice",
		File: "pkg/embedded/nats.go", Old: `MaxMsgs: 1,`, New: `MaxMsgs: -1,`,
		Package: permitPackage, Test: "TestAnswersGoToWhoAsked",
	},
	{
		Name: "nats: calls are heard in the answerer's queue only", Keeps: "nobody listens beside it",
		File: permitDir + "permit.go", Old: `append(p.Subscribe, m.Subject+" "+string(s)), true`, New: `append(p.Subscribe, m.Subject), true`,
		Package: permitPackage, Test: "TestEveryUserOnEverySubject",
	},
	{
		Name: "nats: an inbox of one's own", Keeps: "nobody reads another's answers",
		File: permitDir + "permit.go", Old: `append(p.Subscribe, Inbox(u)+".>")`, New: `append(p.Subscribe, "*.>")`,
		Package: permitPackage, Test: "TestWhatNobodyMayEverDo",
	},
	{
		Name: "nats: a bucket is its owner's", Keeps: "only the gateway reads and makes sessions",
		File: permitDir + "permit.go", Old: `if b.Owner != s {`, New: `if b.Owner == "" {`,
		Package: permitPackage, Test: "TestWhatNobodyMayEverDo",
	},
	{
		Name: "nats: a consumer is its service's", Keeps: "nobody takes another's jobs and facts away",
		File: permitDir + "permit.go", Old: `if c.Service != s {`, New: `if c.Service == "" {`,
		Package: permitPackage, Test: "TestEveryUserOnEverySubject",
	},
	{
		Name: "nats: a call has its own subject and an inbox", Keeps: "what the server was made to bring is no call",
		File: "pkg/bus/call.go", Old: `return msg.Subject == subject && strings`, New: `return msg.Subject != "" || strings`,
		Package: permitPackage, Test: "TestAnEventBroughtElsewhereIsNothing|TestACallThatNamesNoInboxIsNotAnswered",
	},
	{
		Name: "gateway: too many passwords are refused", Keeps: "parallel guesses at a password do not exceed the limit",
		File: gatewayDir + "guess.go", Old: `	if err := g.count(ctx, &one); err != nil {
		return false, err
	}
`, New: `	_ = g.count(ctx, &one)
`,
		Package: gatewayPackage, Test: "TestParallelPasswordsAreNeverJudgedBeyondTheLimit",
	},
	{
		Name: "gateway: a home of an account is limited by itself", Keeps: "nobody keeps an owner out by guessing elsewhere",
		File: gatewayDir + "guess.go", Old: `		if known {
`, New: `		if false && known {
`,
		Package: gatewayPackage, Test: "TestAnAttackElsewhereKeepsNobodyOutAtHome",
	},
	{
		Name: "gateway: a network is limited", Keeps: "stolen passwords are not tried by the thousand from one place",
		File: gatewayDir + "guess.go", Old: `m.Counts.Reached(g.limits.Network, one.at); reached {`, New: `m.Counts.Reached(g.limits.Network, one.at); false && reached {`,
		Package: gatewayPackage, Test: "TestAFloodFromANetworkRefusesItsStrangersOnly|TestAnOfficeAtNineMeetsNoRefusal",
	},
	{
		Name: "gateway: the network is asked first", Keeps: "a flood leaves no document for each address that it tries",
		File: gatewayDir + "guess.go", Old: `	if g.hasNetwork(*one) {
`, New: `	_, _ = g.records.meters.Count(ctx, one.accountID(), g.limits.Account, one.at)
	if g.hasNetwork(*one) {
`,
		Package: gatewayPackage, Test: "TestAFloodFromANetworkRefusesItsStrangersOnly",
	},
	{
		Name: "gateway: what was not judged is given back", Keeps: "a part that does not answer uses up nobody's guesses",
		File: gatewayDir + "guess.go", Old: `		result = triedUnjudged
		g.back(one)
`, New: `		result = triedUnjudged
`,
		Package: gatewayPackage, Test: "TestParallelPasswordsAreNeverJudgedBeyondTheLimit",
	},
	{
		Name: "gateway: a right password is given back", Keeps: "who signs in often is not refused",
		File: gatewayDir + "guess.go", Old: `	g.back(one)
	if g.hasHomes(one) && `, New: `	if g.hasHomes(one) && `,
		Package: gatewayPackage, Test: "TestAnAttackElsewhereKeepsNobodyOutAtHome|TestPasswordsAreCountedAsTheModelSays",
	},
	{
		Name: "gateway: a crowd waits for what is given back", Keeps: "right passwords of one person at once are not refused",
		File: gatewayDir + "guess.go", Old: `if result != triedWrong && g.lines.waiting(line) {`, New: `if false && g.lines.waiting(line) {`,
		Package: gatewayPackage, Test: "TestACrowdOfRightPasswordsIsLetIn",
	},
	{
		Name: "gateway: the newest homes are kept", Keeps: "the homes of an account do not grow for ever",
		File: gatewayDir + "guess_store.go", Old: `oldest[:max(len(oldest)+1-homesMost, 0)]`, New: `oldest[:0]`,
		Package: gatewayPackage, Test: "TestTheNewestHomesAreKept",
	},
	{
		Name: "gateway: a step-up counts as a sign-in", Keeps: "a second door gives no more guesses",
		File: gatewayDir + "account.go", Old: `right, err = g.flow.guesses.try(ctx, s.Portal, u.Email, func() (bool, error) {`,
		New:     `right, err = func(judge func() (bool, error)) (bool, error) { return judge() }(func() (bool, error) {`,
		Package: "./test/e2e", Test: "TestStepUpCountsAsASignIn",
	},
	{
		Name: "gateway: who may say where a request comes from", Keeps: "an invented X-Forwarded-For is no other network",
		File: gatewayDir + "device.go", Old: `	if !known(out.address) {
		return out
	}
`, New: `	_ = known(out.address)
`,
		Package: "./test/e2e", Test: "TestANetworksGuessesAreLimited",
	},
	{
		Name: "gateway: every line of X-Forwarded-For counts", Keeps: "a client behind a proxy does not choose its network",
		File: gatewayDir + "device.go", Old: `c.Request().Header.PeekAll(fiber.HeaderXForwardedFor)`,
		New:     `[][]byte{c.Request().Header.Peek(fiber.HeaderXForwardedFor)}`,
		Package: gatewayPackage, Test: "TestOnlyOurProxiesSayWhoCalls",
	},
	{
		Name: "gateway: an opened text is noted over another change", Keeps: "a sign-in does not stay with the code that a resend killed",
		File: gatewayDir + "challenge.go", Old: `|| try == noteTries {`, New: `|| try <= noteTries {`,
		Package: gatewayPackage, Test: "TestB24AResendOutlivesAnotherChange",
	},
	{
		Name: "gateway: a newer text stays", Keeps: "of two resends at once the one whose code lives is asked for",
		File: gatewayDir + "challenge.go", Old: `|| now.CodeExpiresAt.After(expires) {`, New: `|| now.CodeExpiresAt.IsZero() && expires.IsZero() {`,
		Package: gatewayPackage, Test: "TestB24AResendOutlivesAnotherChange",
	},
	{
		Name: "store: a meter counts before it is asked", Keeps: "parallel calls find no more room than there is",
		File: "pkg/store/meters.go", Old: `CountIn("counts", limits, now, 1)}`, New: `CountIn("counts", limits, now, 0)}`,
		Package: "./pkg/store", Test: "TestAMeterOnTheStoreIsExact",
	},
	{
		Name: "store: only what is there is given back", Keeps: "what is given back twice makes no room",
		File: "pkg/store/meters.go", Old: `Value: bson.D{{Key: "$gte", Value: n}}})`, New: `Value: bson.D{{Key: "$gte", Value: -1000 * n}}})`,
		Package: "./pkg/store", Test: "TestAMeterOnTheStoreIsExact",
	},
}
