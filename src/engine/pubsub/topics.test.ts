import { describe, expect, test } from "bun:test";
import { StubBroker, stubComponents } from "./fixture-parts.ts";
import { Topics } from "./topics.ts";

function topicsWith(properties: Record<string, string>, isNamespaceScoped = false): Topics {
  const components = stubComponents();
  components.set("bus", new StubBroker(), properties, isNamespaceScoped);
  const component = components.find("pubsub", "bus");
  if (!component) throw new Error("no component");
  return new Topics(component, { namespace: "shop", appId: "app1" });
}

describe("Topics", () => {
  test("allows everything without scopes", () => {
    const topics = topicsWith({});
    expect(topics.canPublish("x")).toBe(true);
    expect(topics.canSubscribe("x")).toBe(true);
  });

  test("allowedTopics bounds everybody", () => {
    const topics = topicsWith({ allowedtopics: "a, b" });
    expect(["a", "b", "c"].map((topic) => topics.canPublish(topic))).toEqual([true, true, false]);
  });

  test("a listed app has its topics only, an empty list means none, an unlisted app has all", () => {
    expect(topicsWith({ publishingscopes: "app1=a,b;app2=c" }).canPublish("c")).toBe(false);
    expect(topicsWith({ publishingscopes: "app1=a,b;app2=c" }).canPublish("b")).toBe(true);
    expect(topicsWith({ publishingscopes: "app2=c" }).canPublish("z")).toBe(true);
    expect(topicsWith({ subscriptionscopes: " app1 = " }).canSubscribe("a")).toBe(false);
    expect(topicsWith({ subscriptionscopes: " app1 = " }).canPublish("a")).toBe(true);
  });

  test("a protected topic needs a scope that names it", () => {
    expect(topicsWith({ protectedtopics: "p" }).canPublish("p")).toBe(false);
    expect(topicsWith({ protectedtopics: "p" }).canPublish("q")).toBe(true);
    expect(topicsWith({ protectedtopics: "p", publishingscopes: "app1=p" }).canPublish("p")).toBe(true);
  });

  test("hides the namespace prefix from the app", () => {
    const topics = topicsWith({}, true);
    expect(topics.toBroker("orders")).toBe("shoporders");
    expect(topics.fromBroker("shoporders")).toBe("orders");
    expect(topicsWith({}).toBroker("orders")).toBe("orders");
  });

  test("consumers share the component's consumerID, by default the app id", () => {
    expect(topicsWith({}).consumerGroup).toBe("app1");
    expect(topicsWith({ consumerid: "g" }).consumerGroup).toBe("g");
  });
});
