"""How `StreamRouter.start` starts routers, and `router.start` of an open one an agent."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class Either(Generic[P, R, Q, S]):
    """A method of a class and another one of its instances, under one name."""

    def __init__(
        self, of_class: Callable[Concatenate[Any, P], R], of_instance: Callable[Concatenate[Any, Q], S]
    ) -> None:
        self._of_class = of_class
        self._of_instance = of_instance
        self.__doc__ = of_class.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Callable[P, R]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> Callable[Q, S]: ...
    def __get__(self, instance: Any, owner: type[Any]) -> Callable[..., Any]:
        if instance is None:
            return MethodType(self._of_class, owner)
        return MethodType(self._of_instance, instance)


def of_a_router(
    of_instance: Callable[Concatenate[Any, Q], S],
) -> Callable[[Callable[Concatenate[Any, P], R]], Either[P, R, Q, S]]:
    """Make the method below a method of the class, and this one that of its instances."""

    def make(of_class: Callable[Concatenate[Any, P], R]) -> Either[P, R, Q, S]:
        return Either(of_class, of_instance)

    return make
