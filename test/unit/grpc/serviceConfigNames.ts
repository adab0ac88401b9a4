/** Which methods a config is for. */
import {
  add,
  at,
  cart,
  one,
  path,
  retryPolicy,
  type Valid,
  type Invalid
} from "../../support/grpc/ServiceConfigParts.ts"

/** In order. */
export const valid: ReadonlyArray<Valid> = [
  {
    name: "nothing at all",
    source: "A21: an empty service config is valid",
    config: {},
    of: [path, { scope: "None", at: undefined, timeoutMillis: undefined }]
  },
  {
    name: "no method configs",
    source: "grpc-go parseServiceConfig; grpc-java ManagedChannelServiceConfig.empty",
    config: { methodConfig: [] },
    of: [path, { scope: "None" }]
  },
  {
    name: "one method",
    source: "service_config.proto, MethodConfig.Name",
    config: one({ timeout: "1s" }),
    of: [path, { scope: "Method", at: "methodConfig[0].name[0]", timeoutMillis: 1_000 }]
  },
  {
    name: "one method, asked for another",
    source: "service_config.proto, MethodConfig.Name",
    config: one({ timeout: "1s" }),
    of: ["/shop.Cart/Remove", { scope: "None", timeoutMillis: undefined }]
  },
  {
    name: "a service",
    source: "service_config.proto: an empty method stands for all methods of the service",
    config: { methodConfig: [{ name: [cart], timeout: "1s" }] },
    of: [path, { scope: "Service", timeoutMillis: 1_000 }]
  },
  {
    name: "a service whose name begins like another",
    source: "grpc-go getMethodConfig: the service is looked up with its slash",
    config: { methodConfig: [{ name: [cart], timeout: "1s" }] },
    of: ["/shop.Carts/Add", { scope: "None" }]
  },
  {
    name: "all methods, as an empty name",
    source: "service_config.proto: an empty service stands for all; grpc-go TestParseDefaultMethodConfig",
    config: { methodConfig: [{ name: [{}], waitForReady: true }] },
    of: [path, { scope: "All", waitForReady: true }]
  },
  {
    name: "all methods, as null",
    source: 'service_config.proto: "", null and absent are the same; grpc-go TestParseDefaultMethodConfig',
    config: { methodConfig: [{ name: [{ service: null }], waitForReady: true }] },
    of: [path, { scope: "All", waitForReady: true }],
    notIn: { "grpc-java": "JsonUtil.getString takes no null", "grpc-js": "validateName takes no null" }
  },
  {
    name: "all methods, as empty texts",
    source: 'service_config.proto: "", null and absent are the same; grpc-go TestParseDefaultMethodConfig',
    config: { methodConfig: [{ name: [{ service: "", method: "" }], timeout: "1s" }] },
    of: [path, { scope: "All", timeoutMillis: 1_000 }],
    notIn: { "grpc-js": "validateName takes an empty method for one without a service" }
  },
  {
    name: "a service with an empty method",
    source: 'service_config.proto: { service, method: "" } is the service',
    config: { methodConfig: [{ name: [{ service: "shop.Cart", method: "" }], timeout: "1s" }] },
    of: [path, { scope: "Service", timeoutMillis: 1_000 }]
  },
  {
    name: "the most specific name, whatever the order",
    source: "service_config.proto: the most specific match wins",
    config: {
      methodConfig: [
        { name: [{}], timeout: "1s" },
        { name: [add], timeout: "3s" },
        { name: [cart], timeout: "2s" }
      ]
    },
    of: [path, { scope: "Method", at: "methodConfig[1].name[0]", timeoutMillis: 3_000 }]
  },
  {
    name: "the most specific name alone, without what others say",
    source: "service_config.proto; grpc-java getMethodConfig: one entry is used, none are merged",
    config: {
      methodConfig: [
        { name: [{}], timeout: "1s", waitForReady: true },
        { name: [add], maxRequestMessageBytes: 10 }
      ]
    },
    of: [path, { scope: "Method", timeoutMillis: undefined, waitForReady: undefined, maxRequestBytes: 10 }]
  },
  {
    name: "an exemption: a name with nothing to say",
    source: "service_config.proto: every setting is optional",
    config: { methodConfig: [{ name: [cart], retryPolicy }, { name: [add] }] },
    of: [path, { scope: "Method", retry: undefined }]
  },
  {
    name: "several names in one entry",
    source: "service_config.proto: names are a list",
    config: { methodConfig: [{ name: [{ service: "a.A" }, { service: "b.B", method: "C" }, add], timeout: "1s" }] },
    of: [path, { scope: "Method", at: "methodConfig[0].name[2]", timeoutMillis: 1_000 }]
  },
  {
    name: "the same method of two services",
    source: "service_config.proto: names are unique as pairs",
    config: { methodConfig: [{ name: [add, { service: "shop.Wishlist", method: "Add" }], timeout: "1s" }] },
    of: ["/shop.Wishlist/Add", { scope: "Method", timeoutMillis: 1_000 }]
  },
  {
    name: "a service without a package",
    source: "service_config.proto; grpc-go TestParseWaitForReady",
    config: { methodConfig: [{ name: [{ service: "foo", method: "Bar" }], waitForReady: false }] },
    of: ["/foo/Bar", { scope: "Method", waitForReady: false }]
  },
  {
    name: "a service that is called as what every object has",
    source: "any name is a name",
    config: { methodConfig: [{ name: [{ service: "constructor" }, { service: "__proto__" }], timeout: "1s" }] },
    of: ["/__proto__/toString", { scope: "Service", timeoutMillis: 1_000 }]
  }
]

/** Not in order. */
export const invalid: ReadonlyArray<Invalid> = [
  {
    name: "method configs that are no list",
    config: { methodConfig: { name: [{}] } },
    issues: [["methodConfig", "a list"]]
  },
  { name: "an entry that is no object", config: { methodConfig: [null] }, issues: [[at, "an object with name"]] },
  { name: "no names", config: { methodConfig: [{ timeout: "1s" }] }, issues: [[`${at}.name`, "it is required"]] },
  {
    name: "an empty list of names",
    config: { methodConfig: [{ name: [] }] },
    issues: [[`${at}.name`, "at least one name"]]
  },
  { name: "a name that is no list", config: { methodConfig: [{ name: {} }] }, issues: [[`${at}.name`, "a list"]] },
  {
    name: "a name that is a text",
    config: { methodConfig: [{ name: ["shop.Cart"] }] },
    issues: [[`${at}.name[0]`, "an object with service, method"]]
  },
  {
    name: "a method without a service",
    config: { methodConfig: [{ name: [{ method: "Add" }, { service: "", method: "Add" }] }] },
    issues: [
      [`${at}.name[0].service`, "the service of the method"],
      [`${at}.name[1].service`, "the service of the method"]
    ]
  },
  {
    name: "a whole path as a name",
    config: { methodConfig: [{ name: [{ service: "/shop.Cart/Add" }, { service: "a", method: "/b" }] }] },
    issues: [
      [`${at}.name[0].service`, 'without "/"'],
      [`${at}.name[1].method`, 'without "/"']
    ]
  },
  {
    name: "a pattern",
    config: { methodConfig: [{ name: [{ service: "shop.*" }, { service: "a.B", method: "*" }] }] },
    issues: [
      [`${at}.name[0].service`, "there are no patterns"],
      [`${at}.name[1].method`, "there are no patterns"]
    ]
  },
  {
    name: "a name twice in one entry",
    config: { methodConfig: [{ name: [cart, cart] }] },
    issues: [[`${at}.name[1]`, "it is methodConfig[0].name[0] already"]]
  },
  {
    name: "a name twice in two entries",
    config: { methodConfig: [{ name: [add] }, { name: [cart, add] }] },
    issues: [["methodConfig[1].name[1]", "it is methodConfig[0].name[0] already"]]
  },
  {
    name: "all methods twice, in two spellings",
    config: { methodConfig: [{ name: [{}] }, { name: [{ service: null, method: "" }] }] },
    issues: [["methodConfig[1].name[0]", "it is methodConfig[0].name[0] already"]]
  }
]
