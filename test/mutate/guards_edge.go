package main

const (
	sealPackage   = "./pkg/seal"
	attackPackage = "./test/attack"
)

// edgeGuards are those of keys, requests and the portal door.
var edgeGuards = []guard{
	{
		Name: "seal: a sealed value has its place", Keeps: "a value that was moved does not open",
		File: "pkg/seal/seal.go", Old: `		out = append(out, part...)
	}
	return out
}`, New: `	}
	return nil
}`,
		Package: sealPackage, Test: "TestASealedValueOpensOnlyInItsPlace",
	},
	{
		Name: "seal: a file without the later keys is refused", Keeps: "an older copy of a key file, or a stranger's, does not replace the keys that seal",
		File: "pkg/seal/keys.go", Old: `		if !slices.ContainsFunc(ids[slices.Index(ids, id)+1:],`, New: `		if false && !slices.ContainsFunc(ids[slices.Index(ids, id)+1:],`,
		Package: sealPackage, Test: "TestAKeyIsRetiredBehindALateReplica",
	},
	{
		Name: "store: re-sealing loses to a person", Keeps: "what somebody changes while keys are rotated is not set back",
		File: "pkg/store/reseal.go", Old: `		Guard:  bson.D{{Key: v.Field, Value: v.Value}},`, New: `		Guard:  bson.D{},`,
		Package: storePackage, Test: "TestResealingLosesToAPerson",
	},
	{
		Name: "gateway: a refusal takes its time", Keeps: "the time does not tell whether an address has an account",
		File: gatewayDir + "signin.go", Old: `		f.passwords.even(ctx, begun, floor)
`, New: `		_, _ = begun, floor
`,
		Package: e2ePackage, Test: "TestARefusalTakesItsTime",
	},
	{
		Name: "gateway: a sign-in goes on where it began", Keeps: "half a sign-in of one portal is nothing at another",
		File: gatewayDir + "signin.go", Old: `	} else if p.ID != s.Portal {`, New: `	} else if p.ID == "" {`,
		Package: attackPackage, Test: "TestRule14AnotherPortalsAdminHasThatPortal",
	},
	{
		Name: "gateway: one request", Keeps: "no request hides in another before a proxy",
		File: gatewayDir + "http.go", Old: `	if !oneRequest(c) {`, New: `	if !oneRequest(c) && false {`,
		Package: attackPackage, Test: "TestRule17NoRequestHidesInAnother",
	},
	{
		Name: "gateway: bodies are taken by the letter", Keeps: "a name that nobody knows, or twice, is refused",
		File: gatewayDir + "openapi.go", Old: `Unmarshal: unmarshalStrict}`, New: `Unmarshal: huma.DefaultJSONFormat.Unmarshal}
	_ = unmarshalStrict`,
		Package: attackPackage, Test: "TestRule17BodiesThatDoNotFit",
	},
	{
		Name: "door: a ticket is for one browser", Keeps: "a link that was seen opens nothing a second time",
		File: gatewayDir + "door_rules.go", Old: `s.Portal == portalID && !s.Door.Entered && len`, New: `s.Portal == portalID && len`,
		Package: gatewayPackage, Test: "TestATicketIsForOnePortalAndAMinute",
	},
	{
		Name: "door: the browser that gave the code brings the word", Keeps: "a link that was handed over lets nobody in but who completed it",
		File: gatewayDir + "door_rules.go", Old: `len(s.Door.Home) > 0 && sameToken(s.Door.Home, word)`, New: `len(s.Door.Home) > 0`,
		Package: gatewayPackage, Test: "TestOnlyTheBrowserThatWasLetInBringsItHome",
	},
	{
		Name: "door: a sign-in is proof once", Keeps: "an old proof opens no second session at the portal",
		File: gatewayDir + "door_rules.go", Old: `	case !s.Door.RedeemedAt.IsZero():`, New: `	case !s.Door.RedeemedAt.IsZero() && false:`,
		Package: gatewayPackage, Test: "TestWhenASignInIsProof",
	},
	{
		Name: "door: a proof dies with its factor", Keeps: "who was reset proves nothing with what they did before",
		File: gatewayDir + "door_rules.go", Old: `return i.Enrolment == s.Enrolment })`, New: `return i.Enrolment != "" })`,
		Package: gatewayPackage, Test: "TestAProofDiesWithItsFactor",
	},
	{
		Name: "door: an account is met by a verified address", Keeps: "nobody takes an account over by naming its address",
		File: gatewayDir + "door_rules.go", Old: `	case !v.EmailVerified:`, New: `	case false:`,
		Package: gatewayPackage, Test: "TestWhoseAccountAnAddressIs",
	},
	{
		Name: "door: nobody is an admin there", Keeps: "an API key is not worth an admin's rights",
		File: gatewayDir + "door_rules.go", Old: `		p.MasterAdmin, p.OrganizationAdmin = false, false
`, New: ``,
		Package: gatewayPackage, Test: "TestNobodyIsAnAdminAtTheDoor",
	},
	{
		Name: "door: return URLs are registered", Keeps: "nobody is sent to an address that the portal did not name",
		File: gatewayDir + "door.go", Old: `	if err == nil && !slices.Contains(p.ReturnURLs, returnURL) {`, New: `	if err == nil && !slices.Contains(p.ReturnURLs, returnURL) && returnURL == "-" {`,
		Package: e2ePackage, Test: "TestDoorIsShutToStrangers",
	},
	{
		Name: "door: a key sees its app's sign-ins", Keeps: "another portal, or app, redeems nothing",
		File: gatewayDir + "door.go", Old: `s.Portal != k.Portal || s.Door.App != k.App)`, New: `false)`,
		Package: e2ePackage, Test: "TestDoorIsShutToStrangers|TestDoorsOfTwoPortalsAreApart",
	},
	{
		Name: "gateway: recovery codes ask for a fresh proof", Keeps: "a session that was taken makes itself no recovery codes",
		File: gatewayDir + "account.go", Old: `	if !s.fresh(g.now()) {`, New: `	if false && !s.fresh(g.now()) {`,
		Package: attackPackage, Test: "TestRule13WhatASessionMayDoIsItsOwn",
	},
	{
		Name: "gateway: cookies are of this host alone", Keeps: "no other host and no plain connection sets a session",
		File: gatewayDir + "http.go", Old: `return "__Host-sallyport_" + name`, New: `return "sallyport_" + name`,
		Package: attackPackage, Test: "TestRule15EveryAnswerIsGuarded|TestRule12OnlyOurCookiesCount",
	},
	{
		Name: "sms: a number has its place", Keeps: "a number that was moved to another person gets no text",
		File: smsDir + "service.go", Old: `return seal.Place{who.Portal, phonesName, "phone", who.User, enrolment}`, New: `return seal.Place{phonesName, "phone"}`,
		Package: attackPackage, Test: "TestRule01ANumberThatWasMovedGetsNoText",
	},
	{
		Name: "digits: spaces are spaces", Keeps: "a code has one spelling, whatever else looks like a space",
		File: "pkg/digits/digits.go", Old: `case c == ' ':`, New: `case c == ' ' || c == '\t' || c == '\n' || c == '\r':`,
		Package: "./pkg/digits", Test: "TestCanonical",
	},
	{
		Name: "sms: a code is for its own sign-in", Keeps: "a code of one sign-in opens no other",
		File: smsDir + "verify.go", Old: `c.account() == t.Account && c.Flow == t.flow && c.Purpose`, New: `c.account() == t.Account && c.Purpose`,
		Package: smsPackage, Test: "TestACodeServesNothingElse",
	},
	{
		Name: "store: a majority has what is acknowledged", Keeps: "what somebody was told outlives the server that told it",
		File: "pkg/store/store.go", Old: `SetWriteConcern(writeconcern.Majority()).`, New: `SetWriteConcern(writeconcern.W1()).`,
		Package: attackPackage, Test: "TestRule19EveryWriteWaitsForAMajority",
	},
	{
		Name: "door: a ticket is taken off when it opens", Keeps: "two browsers with one ticket are not both let in",
		File: gatewayDir + "door.go", Old: `way.Entered, way.Waiting, way.Ticket = true, false, nil`, New: `way.Entered, way.Waiting = false, false`,
		Package: e2ePackage, Test: "TestDoorTicketOpensOnce",
	},
	{
		Name: "door: a proof is looked at when it is redeemed", Keeps: "a factor that was changed since proves nothing",
		File: gatewayDir + "door.go", Old: `if !s.stillProves(decision) {`, New: `if false && !s.stillProves(decision) {`,
		Package: e2ePackage, Test: "TestDoorRedeemsOnce",
	},
	{
		Name: "gateway: a change is acknowledged after its entry", Keeps: "nobody is told of a change that the audit log does not have",
		File: gatewayDir + "desk.go", Old: `	_, err := bus.Request(ctx, d.bus, contract.PolicyAudit, entry)
	return err`, New: `	_, _ = bus.Request(ctx, d.bus, contract.PolicyAudit, entry)
	return nil`,
		Package: attackPackage, Test: "TestI7WithoutTheAuditLogNothingIsAcknowledged",
	},
	{
		Name: "gateway: wrong passwords are forgotten after their entry", Keeps: "what an admin forgives is in the audit log, however often it takes",
		File: gatewayDir + "guess_store.go", Old: `	if err := note(ctx); err != nil {
		return false, err
	}
	if err := r.meters.Docs.Delete(ctx, one.accountID()); err != nil {
		return false, err
	}
`, New: `	if err := errors.Join(r.meters.Docs.Delete(ctx, one.accountID()), note(ctx)); err != nil {
		return false, err
	}
`,
		Package: attackPackage, Test: "TestI7WithoutTheAuditLogNothingIsAcknowledged",
	},
	{
		Name: "seal: weak keys are refused", Keeps: "no service starts with a key that is short, guessable or none at all",
		File: "pkg/seal/file.go", Old: `			err = check(c.sets[name])
`, New: `			err = nil
`,
		Package: sealPackage, Test: "TestLoadRefusesByName",
	},
	{
		Name: "service: no start without keys", Keeps: "a key file that is missing, weak or a stranger's is named, and nothing runs",
		File: "pkg/service/service.go", Old: `		return nil, &config.Error{Problems: []string{"KEYSET_FILE: " + err.Error()}}
	}
	if svc.Trace`, New: `		_ = config.Error{}
	}
	if svc.Trace`,
		Package: "./pkg/service", Test: "TestOpenNamesWhatIsMissing",
	},
	{
		Name: "gateway: nobody frames a page", Keeps: "no click is stolen by a page that shows ours within its own",
		File: gatewayDir + "http.go", Old: `form-action 'self'; frame-ancestors 'none'; base-uri`, New: `form-action 'self'; base-uri`,
		Package: attackPackage, Test: "TestRule15NobodyFramesUs|TestRule15EveryAnswerIsGuarded",
	},
	{
		Name: "gateway: a body has 16 KiB at most", Keeps: "nobody uses up memory with what is no request of ours",
		File: gatewayDir + "service.go", Old: `BodyLimit: maxBody,`, New: `BodyLimit: 64 * maxBody,`,
		Package: e2ePackage, Test: "TestRequestsThatAreNoneOfOurs",
	},
	{
		Name: "gateway: a new factor ends the other sessions", Keeps: "who came in before with the password alone is out",
		File: gatewayDir + "enrolment.go", Old: `	return c, f.sessions.endOthers(ctx, n.who, keep)`, New: `	_ = keep
	return c, nil`,
		Package: attackPackage, Test: "TestRule12AFirstFactorEndsWhatThePasswordOpened",
	},
	{
		Name: "gateway: a new factor ends sessions, whoever confirmed it", Keeps: "a gateway that dies on the way leaves no session of before",
		File: gatewayDir + "session_ends.go", Old: `return v.endedBy(d.Message)`, New: `return false`,
		Package: attackPackage, Test: "TestRule12AFactorEndsSessionsWhoeverConfirmedIt",
	},
	{
		Name: "gateway: policy is looked at again with the session", Keeps: "a factor that died between the password and the code lets nobody in",
		File: gatewayDir + "complete.go", Old: `if err == nil && (d.Epoch.Person != s.Epoch.Person || !s.stillProves(d)) {`, New: `if err == nil && d.Action == "" {`,
		Package: attackPackage, Test: "TestI5ADeadFactorOpensNoSession",
	},
	{
		Name: "gateway: who must have a factor does not step up without", Keeps: "a factor that was turned off and on is no proof, and neither is none",
		File: gatewayDir + "account.go", Old: `	case d.Action == contract.Enroll:`, New: `	case d.Action == "":`,
		Package: attackPackage, Test: "TestI5NobodyStepsUpWithADeadFactor",
	},
	{
		Name: "gateway: the older proof says how old a step-up is", Keeps: "password and code are both at most five minutes old",
		File: gatewayDir + "account.go", Old: `		since = s.ProviderAt`, New: `		since = time.Time{}`,
		Package: federatedPackage, Test: "TestB07AFactorOfOursIsAskedForAfterTheProvider",
	},
	{
		Name: "totp: recovery codes die with their generation", Keeps: "codes of before off and on kill no factor that was enrolled since",
		File: totpDir + "codes.go", Old: `return d.Population == population`, New: `return true`,
		Package: totpPackage, Test: "TestB05OffAndOnAgainKillsRecoveryCodes",
	},
	{
		Name: "gateway: a recovery ends every session", Keeps: "who was let in by the lost factor is out before the answer",
		File: gatewayDir + "challenge.go", Old: `if err := f.sessions.endOthers(ctx, s.account(), ""); err != nil {`, New: `if err := error(nil); err != nil {`,
		Package: attackPackage, Test: "TestRule06ARecoveryCodeOpensOneDoor",
	},
	{
		Name: "gateway: a reset ends sessions, whoever asked for it", Keeps: "a gateway that dies on the way leaves no session of a factor that was reset",
		File: gatewayDir + "session_ends.go", Old: `return v.resetBy(d.Message)`, New: `return false`,
		Package: attackPackage, Test: "TestRule12AResetEndsSessionsWhoeverAskedForIt",
	},
	{
		Name: "federation: a newcomer is in the log first", Keeps: "nobody whom a provider sends has an account of which the audit log does not know",
		File: gatewayDir + "federated_account.go", Old: `return u, f.desk.audited(ctx, entry)`, New: `_ = entry
	return u, nil`,
		Package: attackPackage, Test: "TestI7WithoutTheAuditLogNothingIsAcknowledged",
	},
	{
		Name: "bus: a dead letter is written first", Keeps: "poison is thrown away only when it can be looked at",
		File: "pkg/bus/dead.go", Old: `	if _, err := b.js.PublishMsg(ctx, b.letter(msg, meta, why)`, New: `	_ = msg.Term()
	if _, err := b.js.PublishMsg(ctx, b.letter(msg, meta, why)`,
		Package: "./pkg/bus", Test: "TestPoisonWaitsForItsLetter",
	},
	{
		Name: "sms: an expired code is not looked at", Keeps: "after five minutes nobody learns what the code was, or uses up a guess on it",
		File: smsDir + "verify.go", Old: `!now.Before(c.ExpiresAt) || `, New: ``,
		Package: smsPackage, Test: "TestWhenACodeMayBeTyped",
	},
	{
		Name: "sms: an expired code is not taken", Keeps: "a code that ran out while it was compared opens nothing",
		File: smsDir + "store.go", Old: `field("closed", stillOpen), field("expires_at", cond("$gt", now))},
		Update: bson.D{set(fields...), unset("code", "phone")},`, New: `field("closed", stillOpen)},
		Update: bson.D{set(fields...), unset("code", "phone")},`,
		Package: smsPackage, Test: "TestAnExpiredCodeIsNotTaken",
	},
}
