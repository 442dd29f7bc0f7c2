"""More ways to ask Redis.

    GET /redis/<way>?n=37       ways: gets, resp2, resp3, subscribed, blocking, script, broken_pipeline, killed
"""

import os

import redis
from app import _connections, cache


def _client(protocol):
    name = f"redis{protocol}"
    if name not in _connections:
        _connections[name] = redis.Redis.from_url(os.environ["REDIS_URL"], protocol=protocol)
    return _connections[name]


def gets(n, secret):
    client = cache()
    for number in range(n):
        client.get(f"key:{secret}:{number % 10}")


def _kinds(client, n, secret):
    """Answers of every kind: maps, sets, doubles, nulls, pushes."""
    name = f"kinds:{secret}"
    kinds = [
        lambda number: client.hset(name, mapping={f"{secret}:{number % 9}": secret, "other": number}),
        lambda number: client.hgetall(name),
        lambda number: client.zadd(name + ":z", {secret: number / 3}),
        lambda number: client.zrange(name + ":z", 0, -1, withscores=True),
        lambda number: client.zscore(name + ":z", secret),
        lambda number: client.sadd(name + ":s", secret, number % 7),
        lambda number: client.smembers(name + ":s"),
        lambda number: client.get(f"nowhere:{secret}"),
        lambda number: client.mget([name + ":none", "nowhere"]),
    ]
    for number in range(n):
        kinds[number % len(kinds)](number)
    client.config_get("maxmemory*")


def resp2(n, secret):
    _kinds(_client(2), n, secret)


def resp3(n, secret):
    _kinds(_client(3), n, secret)


def subscribed(n, secret):
    for protocol in (2, 3):
        client = _client(protocol)
        subscription = client.pubsub()
        subscription.subscribe("news", "other")
        subscription.psubscribe(f"{secret}*")
        for number in range(n):
            client.publish("news", f"{secret} {number}")
        client.publish(f"{secret}:pattern", secret)
        heard = 0
        while heard < n + 1:
            message = subscription.get_message(ignore_subscribe_messages=True, timeout=10)
            heard += message is not None
        subscription.ping()
        subscription.unsubscribe()
        subscription.punsubscribe()
        while subscription.subscribed and subscription.get_message(timeout=10):
            pass
        subscription.close()


def blocking(n, secret):
    client = cache()
    for number in range(n):
        client.rpush(f"list:{secret}", secret)
        client.blpop([f"list:{secret}"], timeout=5)
    assert client.blpop([f"empty:{secret}"], timeout=0.05) is None


def script(n, secret):
    client = cache()
    script = client.register_script("return {ARGV[1], KEYS[1]}")
    for _ in range(n):
        client.eval("return ARGV[1]", 0, secret)
        script(keys=[secret], args=[secret])
    try:
        client.eval("return redis.error_reply('MYERR ' .. ARGV[1])", 0, secret)
    except redis.ResponseError:
        pass


def broken_pipeline(n, secret):
    client = cache()
    client.set(f"text:{secret}", secret)
    pipeline = client.pipeline(transaction=False)
    for number in range(n):
        pipeline.incr(f"count:{secret}:{number}")
        pipeline.incr(f"text:{secret}")
        pipeline.get(f"text:{secret}")
    answers = pipeline.execute(raise_on_error=False)
    assert sum(isinstance(answer, redis.ResponseError) for answer in answers) == n


def killed(n, secret):
    """The server ends the connection; redis-py makes another and asks again."""
    gets(n, secret)
    _client(2).client_kill_filter(_id=cache().client_id())
    gets(n, secret)
